"""The comparison of a reference with the given file sees what is wrong with a reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from segx_core.card import SizeRule
from segx_core.errors import GateError
from segx_core.predictor import Predictor
from segx_export.sameness import check_same, sizes_for


def spoiled(path, change):
    """A copy of a file whose first convolution's weights went through `change`."""
    model = onnx.load(path)
    name = next(node.input[1] for node in model.graph.node if node.op_type == "Conv")
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    other = path.with_name("spoiled.onnx")
    onnx.save(model, other)
    return other


@pytest.mark.parametrize("kind", ["logits", "probabilities", "classmap"])
def test_a_file_is_the_same_as_itself_and_not_as_a_spoiled_one(theirs, kind):
    path, card = theirs(kind=kind)
    given = Predictor.load(path, provider="cpu", card=card)
    parity = check_same(given, given)
    assert (parity.logits_difference, parity.agreement, parity.widest_flip) == (0, 1, 0)
    for change in (lambda weights: weights[::-1].copy(), lambda weights: weights * np.float32("nan")):
        with pytest.raises(GateError):
            check_same(given, Predictor.load(spoiled(path, change), provider="cpu", card=card))


def test_sizes_keep_to_the_rule():
    assert sizes_for(SizeRule(kind="fixed", height=5, width=7)) == ((5, 7), (5, 7))
    for multiple in (2, 32, 100):
        sides = [side for size in sizes_for(SizeRule(kind="multiple", multiple=multiple)) for side in size]
        assert all(side % multiple == 0 and side >= 96 for side in sides)
    assert len({side for size in sizes_for(SizeRule()) for side in size}) == 4
