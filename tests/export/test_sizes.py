"""Factors found by running a graph: constant where they are, left alone where they are not."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from segx_export.sizes import fix_factors, probes


def graph(stride=2, pads=1, **attributes):
    """x (1, 3, H, W) -> a convolution -> a Resize back to x's own size."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    axes = [2, 3] if "axes" in attributes else [0, 1, 2, 3]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[stride] * 2, pads=[pads] * 4),
        helper.make_node("Shape", ["x"], ["whole"]),
        helper.make_node("Shape", ["c"], ["inner"]),
        helper.make_node("Slice", ["whole", "two", "four"], ["sides"]),
        helper.make_node("Slice", ["inner", "zero", "two"], ["front"]),
        helper.make_node("Concat", ["front", "sides"], ["size"], axis=0),
        helper.make_node(
            "Resize", ["c", "", "", "sides" if len(axes) == 2 else "size"], ["y"], mode="linear", **attributes
        ),
    ]
    numbers = [
        numpy_helper.from_array(np.array([n], np.int64), name) for n, name in ((0, "zero"), (2, "two"), (4, "four"))
    ]
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, "h", "w"])],
        [numpy_helper.from_array(weight, "w"), *numbers],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def feeds(*sizes):
    return [{"x": np.random.default_rng(1).normal(size=(1, 3, *size)).astype(np.float32)} for size in sizes]


def factors(model):
    node = next(node for node in model.graph.node if node.op_type == "Resize")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return stored[node.input[2]].tolist() if len(node.input) == 3 else None


def run(model, feed):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)[
        0
    ]


def test_a_whole_factor_becomes_a_number_and_changes_nothing():
    model, (one, other) = graph(), feeds((16, 24), (40, 32))
    fixed = fix_factors(model, (one, other))
    assert factors(fixed) == [1, 1, 2, 2]
    assert "Shape" not in {node.op_type for node in fixed.graph.node}
    for feed in (one, other):
        np.testing.assert_allclose(run(fixed, feed), run(model, feed), atol=1e-6)


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (graph(), ((17, 24), (40, 32))),  # odd sides: 17 over 9 is no whole number
        (graph(pads=0), ((16, 24), (40, 32))),  # a convolution that eats its border
        (graph(keep_aspect_ratio_policy="not_larger", axes=[2, 3]), ((16, 24), (40, 32))),
        (graph(axes=[2, 3]), ((16, 24), (40, 32))),
    ],
    ids=["odd", "border", "aspect", "axes"],
)
def test_what_is_no_whole_factor_everywhere_stays(model, sizes):
    assert factors(fix_factors(model, feeds(*sizes))) is None


def test_one_size_given_twice_is_enough_for_a_fixed_graph():
    (feed,) = feeds((16, 24))
    assert factors(fix_factors(graph(keep_aspect_ratio_policy="stretch"), (feed, feed))) == [1, 1, 2, 2]


def test_probes_keep_to_multiple_and_fixed_size():
    first, second = (probe["image"].shape for probe in probes(32))
    assert all(side % 32 == 0 for shape in (first, second) for side in shape[1:3])
    assert first[1:3] != second[1:3]
    assert [probe["image"].shape for probe in probes(1, (5, 7))] == [(2, 5, 7, 3)] * 2
