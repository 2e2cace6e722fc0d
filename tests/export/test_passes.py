"""Graph passes against ONNX Runtime on the graph as it was: the same numbers, and the change that was meant."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from segx_export.calibrate import activations, calibrate
from segx_export.pointwise import move_pointwise
from segx_export.probe import Plane
from segx_export.quantize import QUANTIZED, prepare, quantize
from segx_export.rawpicture import BYTES, take_bytes
from segx_export.shapes import fix_shapes
from segx_export.simplify import sum_stacks

FLOAT, UINT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64


def model(nodes, inputs, outputs, constants):
    """A checked model; inputs and outputs as (name, type, shape), constants by name."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [helper.make_tensor_value_info(*item) for item in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    return made


def run(model, feeds):
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def resize(source, target, factors, mode="linear"):
    return helper.make_node(
        "Resize", [source, "", factors], [target], mode=mode, coordinate_transformation_mode="half_pixel"
    )


def mixer(mode="linear", bias=True, wide=False, kernel=1):
    """Two maps of 6 channels, one enlarged twice, stacked and mixed to 6 (or 16) channels."""
    outputs = 16 if wide else 6
    nodes = [
        resize("a", "grown", "factors", mode),
        helper.make_node("Concat", ["grown", "b"], ["stack"], axis=1),
        helper.make_node(
            "Conv", ["stack", "w", *(["v"] if bias else [])], ["y"], kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4
        ),
    ]
    constants = {
        "factors": np.array([1, 1, 2, 2], np.float32),
        "w": normal(1, outputs, 12, kernel, kernel),
        "v": normal(2, outputs),
    }
    if not bias:
        del constants["v"]
    return model(
        nodes,
        [("a", FLOAT, ["N", 6, "h", "w_"]), ("b", FLOAT, ["N", 6, "H", "W"])],
        [("y", FLOAT, ["N", outputs, "H", "W"])],
        constants,
    )


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_pointwise_convolution_runs_before_the_enlargement(mode, bias):
    before = mixer(mode, bias)
    after = move_pointwise(before)
    assert operators(after) == {"Conv": 2, "Resize": 1, "Add": 1}
    feeds = {"a": normal(3, 2, 6, 3, 4), "b": normal(4, 2, 6, 6, 8)}
    np.testing.assert_allclose(run(after, feeds)[0], run(before, feeds)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("made", [mixer(mode="cubic"), mixer(wide=True), mixer(kernel=3)], ids=["cubic", "wide", "3x3"])
def test_where_it_would_be_wrong_or_dearer_nothing_moves(made):
    assert operators(move_pointwise(made)) == operators(made)


def test_an_enlarged_map_that_something_else_reads_stays():
    made = mixer()
    made.graph.output.append(helper.make_tensor_value_info("grown", FLOAT, None))
    assert operators(move_pointwise(made)) == operators(made)


def test_the_mixing_goes_into_the_projection_before_it():
    nodes = [
        helper.make_node("MatMul", ["t", "p"], ["m"]),
        helper.make_node("Add", ["o", "m"], ["l"]),
        helper.make_node("Transpose", ["l"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["turned", "shape"], ["a"]),
        resize("a", "grown", "factors"),
        helper.make_node("Concat", ["grown", "b"], ["stack"], axis=1),
        helper.make_node("Conv", ["stack", "w", "v"], ["y"], kernel_shape=[1, 1]),
    ]
    constants = {"p": normal(1, 5, 6), "o": normal(2, 6), "shape": np.array([0, 6, 3, 4]), "w": normal(3, 6, 12, 1, 1)}
    constants |= {"v": normal(4, 6), "factors": np.array([1, 1, 2, 2], np.float32)}
    before = model(
        nodes,
        [("t", FLOAT, ["N", 12, 5]), ("b", FLOAT, ["N", 6, 6, 8])],
        [("y", FLOAT, ["N", 6, 6, 8])],
        constants,
    )
    after = move_pointwise(before)
    assert operators(after)["Conv"] == 1  # the other map's
    feeds = {"t": normal(5, 2, 12, 5), "b": normal(6, 2, 6, 6, 8)}
    np.testing.assert_allclose(run(after, feeds)[0], run(before, feeds)[0], rtol=1e-4, atol=1e-5)


def test_a_sum_over_a_stack_is_adds_and_equal_enlargements_are_one():
    names = ["a", "b", "c"]
    nodes = [resize(name, f"{name}2", "factors") for name in ("a", "b")]
    parts = ["a2", "b2", "c"]
    nodes += [helper.make_node("Unsqueeze", [part, "zero"], [f"u{part}"]) for part in parts]
    nodes += [
        helper.make_node("Concat", [f"u{part}" for part in parts], ["stack"], axis=0),
        helper.make_node("ReduceSum", ["stack", "zero"], ["y"], keepdims=0),
    ]
    small, large = [1, 2, 3, 4], [1, 2, 6, 8]
    before = model(
        nodes,
        [(name, FLOAT, large if name == "c" else small) for name in names],
        [("y", FLOAT, large)],
        {"factors": np.array([1, 1, 2, 2], np.float32), "zero": np.array([0])},
    )
    after = sum_stacks(before)
    assert operators(after) == {"Resize": 1, "Add": 2}
    feeds = {name: normal(index, *(large if name == "c" else small)) for index, name in enumerate(names)}
    np.testing.assert_allclose(run(after, feeds)[0], run(before, feeds)[0], rtol=1e-5, atol=1e-6)


def tokens():
    """Picture -> 4 maps at half the size -> tokens -> times a matrix -> maps, shapes asked for as exporters do."""
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=FLOAT),
        helper.make_node("Transpose", ["floats"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "w"], ["maps"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["maps"], ["four"]),
        helper.make_node("Slice", ["four", "zero", "two"], ["nc"]),
        helper.make_node("Concat", ["nc", "minus"], ["flat"], axis=0),
        helper.make_node("Reshape", ["maps", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["tokens", "p"], ["products"]),
        helper.make_node("Transpose", ["products"], ["back"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["back", "four"], ["y"]),
    ]
    constants = {"w": normal(1, 4, 3, 2, 2), "p": normal(2, 4, 4), "zero": np.array([0]), "two": np.array([2])}
    return model(
        nodes,
        [("image", UINT8, ["N", "H", "W", 3])],
        [("y", FLOAT, ["N", 4, "h", "w_"])],
        constants | {"minus": np.array([-1])},
    )


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_computed_shapes_become_products_at_every_size(batch, rows, columns):
    before = tokens()
    after = fix_shapes(before, Plane(multiple=4))
    made = {name: node for node in after.graph.node for name in node.output}
    reshapes = [node for node in after.graph.node if node.op_type == "Reshape"]
    assert all(made[node.input[1]].op_type == "Concat" for node in reshapes)
    assert all(node.input[0] == "image" for node in after.graph.node if node.op_type == "Shape")
    assert all(list(node.attribute[0].ints) != [0, 2, 1] for node in after.graph.node if node.op_type == "Transpose")
    shape = (batch, 4 * rows, 4 * columns, 3)
    feeds = {"image": np.random.default_rng(0).integers(0, 256, shape, np.uint8)}
    np.testing.assert_allclose(run(after, feeds)[0], run(before, feeds)[0], rtol=1e-4, atol=1e-3)


def pictures(count=4, height=24, width=32):
    coarse = np.random.default_rng(5).integers(0, 256, (count, height // 4, width // 4, 3))
    return coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)


def stem(readers=1):
    """Picture -> normalised -> one convolution -> another; `readers` convolutions read the normalised picture."""
    nodes = [
        helper.make_node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["nchw"], ["floats"], to=FLOAT),
        helper.make_node("Sub", ["floats", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["x"]),
        helper.make_node("Conv", ["x", "w", "v"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w2"], ["logits"], kernel_shape=[1, 1]),
    ]
    outputs = [("logits", FLOAT, ["N", 5, "H", "W"])]
    if readers == 2:
        nodes.append(helper.make_node("Conv", ["x", "w"], ["other"], kernel_shape=[3, 3]))
        outputs.append(("other", FLOAT, ["N", 8, "h", "w_"]))
    constants = {
        "mean": np.array([123.7, 116.3, 103.5], np.float32).reshape(1, 3, 1, 1),
        "std": np.array([58.4, 57.1, 57.4], np.float32).reshape(1, 3, 1, 1),
        "w": normal(1, 8, 3, 3, 3) / 5,
        "v": normal(2, 8),
        "w2": normal(3, 5, 8, 1, 1),
    }
    return model(nodes, [("image", UINT8, ["N", "H", "W", 3])], outputs, constants)


def test_normalisation_goes_into_the_first_convolution_and_is_exact_away_from_the_edge():
    before = stem()
    after = take_bytes(before)
    assert not operators(after)["Div"]
    feeds = {"image": pictures()}
    was, now = run(before, feeds)[0], run(after, feeds)[0]
    np.testing.assert_allclose(now[..., 1:-1, 1:-1], was[..., 1:-1, 1:-1], rtol=1e-3, atol=1e-4)
    assert 0 < np.abs(now - was).max() < 0.5 * was.std()  # grey instead of the mean colour outside


def test_a_normalised_picture_that_two_read_stays():
    made = stem(readers=2)
    assert take_bytes(made) is made


def test_the_int8_graph_reads_the_bytes_and_rounds_no_picture():
    before = stem()
    prepared = prepare(before)
    names = activations(prepared, QUANTIZED)
    ranges = calibrate(prepared, names, [{"image": picture[None]} for picture in pictures()], 4)
    quantized = quantize(prepared, ranges.bounds["minmax"])
    readers = [node for node in quantized.graph.node if BYTES in node.input]
    assert [node.op_type for node in readers] == ["DequantizeLinear"]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    scale, zero = (constants[name] for name in readers[0].input[1:])
    assert (float(scale), int(zero)) == (1.0, 114)
    feeds = {"image": pictures()}
    was, now = run(before, feeds)[0], run(quantized, feeds)[0]
    assert np.abs(now - was)[..., 1:-1, 1:-1].max() < 0.1 * was.std()
