"""BatchNorm folding against ONNX Runtime's own BatchNormalization."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from segx_export.fold import fold_batch_norms


def graph(op, groups, bias, tail):
    """x (N, 4, H, W) -> convolution -> BatchNorm; `tail` adds readers of the convolution's output."""
    random = np.random.default_rng(2)
    shape = (6, 4 // groups, 3, 3) if op == "Conv" else (4, 6 // groups, 3, 3)
    arrays = {"w": random.normal(size=shape), "b": random.normal(size=6)}
    arrays |= {"gain": random.uniform(0.5, 2, 6), "offset": random.normal(size=6)}
    arrays |= {"mean": random.normal(size=6), "variance": random.uniform(0.2, 3, 6)}
    nodes = [
        helper.make_node(op, ["x", "w", *(["b"] if bias else [])], ["c"], group=groups, pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "gain", "offset", "mean", "variance"], ["y"], epsilon=1e-3),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6, "H", "W"])]
    if tail:
        nodes.append(helper.make_node(tail, ["c"], ["t"]))
        kind = TensorProto.INT64 if tail == "Shape" else TensorProto.FLOAT
        outputs.append(helper.make_tensor_value_info("t", kind, [4] if tail == "Shape" else ["N", 6, "H", "W"]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, "H", "W"])]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in arrays.items()]
    made = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model):
    x = np.random.default_rng(0).normal(size=(2, 4, 9, 7)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})


def count(model):
    return sum(node.op_type == "BatchNormalization" for node in model.graph.node)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tail", [None, "Shape"])
def test_folded_and_unfolded_agree(op, groups, bias, tail):
    model = graph(op, groups, bias, tail)
    folded = fold_batch_norms(model)
    onnx.checker.check_model(folded, full_check=True)
    assert count(folded) == 0
    assert {tensor.name for tensor in folded.graph.initializer}.isdisjoint({"gain", "mean", "w"})
    for before, after in zip(run(model), run(folded), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_a_convolution_that_others_compute_with_stays():
    model = graph("Conv", 1, True, "Relu")
    assert count(fold_batch_norms(model)) == 1


def test_the_given_model_is_left_alone():
    model = graph("Conv", 1, True, None)
    before = model.SerializeToString()
    fold_batch_norms(model)
    assert model.SerializeToString() == before


def test_the_deploy_graph_has_none_left(model):
    assert count(model) == 0
    assert not [node for node in model.graph.node if node.op_type == "Resize" and len(node.input) > 3]
