"""float16: the network in half precision, what surrounds it in float32, whatever reads the logits."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from segx_export import onnxgraph
from segx_export.deploy import deploy_model
from segx_export.half import to_half


@pytest.mark.parametrize("outputs", ["classmap", "probabilities"])
def test_half_precision_stays_inside(network, outputs):
    model = deploy_model(network, outputs)
    half = to_half(model)
    types = {item.name: item.data_type for item in half.graph.initializer}
    weights = [node.input[1] for node in half.graph.node if node.op_type == "Conv"]
    assert {types[name] for name in weights} == {TensorProto.FLOAT16}
    picture = np.random.default_rng(7).integers(0, 256, (2, 33, 47, 3), dtype=np.uint8)
    exact, close = (
        onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"image": picture}
        )
        for one in (model, half)
    )
    assert [one.dtype for one in exact] == [one.dtype for one in close]
    assert (exact[0] == close[0]).mean() > 0.98
    if outputs == "probabilities":
        np.testing.assert_allclose(exact[1], close[1], atol=0.05)
    outputs_made = [name for node in half.graph.node for name in node.output]
    assert len(outputs_made) == len(set(outputs_made))
    onnxgraph.check(half)
