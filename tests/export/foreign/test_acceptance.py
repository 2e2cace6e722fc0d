"""Files that are read, and files that are refused with the reason."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from segx_core.errors import ModelError
from segx_export.acceptance import CONVERTED, opset_of, read_foreign


def graph(*, kind=TensorProto.FLOAT, op="Conv", extra=(), inputs=("x",), opset=17, listed=False):
    """x (1, 3, 8, 8) -> 1x1 convolution (or `op`) -> y, with further nodes and inputs."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(helper.tensor_dtype_to_np_dtype(kind))
    nodes = [helper.make_node(op, ["x", "w"] if op == "Conv" else ["x"], ["c"]), *extra]
    nodes.append(helper.make_node("Relu", [extra[-1].output[0] if extra else "c"], ["y"]))
    channels = 4 if op == "Conv" else 3
    ports = [helper.make_tensor_value_info(name, kind, [1, 3, 8, 8]) for name in inputs]
    if listed:
        ports.append(helper.make_tensor_value_info("w", kind, [4, 3, 1, 1]))
    made = helper.make_graph(
        nodes, "g", ports, [helper.make_tensor_value_info("y", kind, [1, channels, 8, 8])],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(tmp_path, model):
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def flow():
    """An If whose branches give what the convolution gave."""
    value = helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 4, 8, 8])
    branch = helper.make_graph([helper.make_node("Identity", ["c"], ["b"])], "branch", [], [value])
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    return [yes, helper.make_node("If", ["yes"], ["f"], then_branch=branch, else_branch=branch)]


def quantized():
    scale = helper.make_node("Constant", [], ["s"], value=helper.make_tensor("s", TensorProto.FLOAT, [], [0.1]))
    down = helper.make_node("QuantizeLinear", ["c", "s"], ["q"])
    return [scale, down, helper.make_node("DequantizeLinear", ["q", "s"], ["d"])]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"kind": TensorProto.FLOAT16}, "float16"),
        ({"kind": TensorProto.DOUBLE}, "float64"),
        ({"inputs": ("x", "z")}, "'x', 'z'"),
        ({"op": "Neg"}, "without a convolution"),
        ({"opset": 99}, "opset 99"),
        ({"extra": "flow"}, "If"),
        ({"extra": "quantized"}, "quantized already"),
    ],
)
def test_what_cannot_be_compressed_is_refused_with_the_reason(tmp_path, changes, match):
    made = {"flow": flow, "quantized": quantized}
    known = {key: made[value]() if key == "extra" else value for key, value in changes.items()}
    with pytest.raises(ModelError, match=match):
        read_foreign(saved(tmp_path, graph(**known)))


def test_no_file_and_no_onnx_file(tmp_path):
    with pytest.raises(ModelError, match="net"):
        read_foreign(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_text("hello, this is text")
    with pytest.raises(ModelError):
        read_foreign(tmp_path / "net.onnx")


def test_weights_beside_the_file_are_taken_in_or_missed_by_name(tmp_path):
    model = graph()
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    (weight,) = read_foreign(path).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(weight), numpy_helper.to_array(graph().graph.initializer[0]))
    (tmp_path / "net.data").unlink()
    with pytest.raises(ModelError, match=r"net\.data"):
        read_foreign(path)


def test_initialisers_that_are_inputs_do_not_count_as_such(tmp_path):
    model = read_foreign(saved(tmp_path, graph(listed=True)))
    assert [item.name for item in model.graph.input] == ["x"]


def test_local_functions_are_written_out(tmp_path):
    double = helper.make_function(
        "theirs", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = graph(extra=[helper.make_node("Twice", ["c"], ["t"], domain="theirs")])
    model.opset_import.append(helper.make_opsetid("theirs", 1))
    model.functions.append(double)
    read = read_foreign(saved(tmp_path, model))
    assert [node.op_type for node in read.graph.node] == ["Conv", "Add", "Relu"]


def test_an_old_file_is_converted_and_computes_the_same(tmp_path):
    path = saved(tmp_path, graph(opset=11))
    model = read_foreign(path)
    assert opset_of(model) == CONVERTED
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    (want,), (got,) = (
        onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"]).run(None, {"x": x})
        for source in (path, model.SerializeToString())
    )
    np.testing.assert_array_equal(got, want)
