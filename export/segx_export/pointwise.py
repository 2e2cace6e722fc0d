"""Moves 1x1 convolutions to where there are fewer pixels, and into the matrix product before them.

SegFormer's decoder (arXiv:2105.15203) projects four maps to C channels, enlarges three, stacks all and mixes the 4C
channels with one 1x1 convolution at the finest size: a third of the whole network's work. A 1x1 convolution and a
linear enlargement commute (the weights of an enlargement add up to 1, so a bias passes too), and a convolution of a
stack is a sum of convolutions. So each map is mixed at its own size, where the mixing and the projection before it are
one matrix product. The same function, fewer multiplications; it knows nothing of precision.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper

from segx_export import onnxgraph

_ENLARGEMENTS = (b"linear", b"nearest")


def move_pointwise(model: ModelProto) -> ModelProto:
    """A copy in which 1x1 convolutions over a stack of enlarged maps run before the enlargement.

    Only where that is less work: the convolution must not have more outputs than the enlarged map has channels.
    Outputs agree with those of `model` to float32 rounding.
    """
    moved = ModelProto()
    moved.CopyFrom(model)
    graph = moved.graph
    channels = _channels(moved)
    for node in [node for node in graph.node if _is_pointwise(node)]:
        _split(graph, node, channels)
    onnxgraph.sort_nodes(graph)
    onnxgraph.remove_dead(graph)
    for node in [node for node in graph.node if _is_pointwise(node)]:
        _merge(graph, node)
    onnxgraph.sort_nodes(graph)
    onnxgraph.remove_dead(graph)
    return moved


def _channels(model: ModelProto) -> dict[str, int]:
    """Tensor name -> its second axis, where shape inference finds it."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    items = (*inferred.graph.input, *inferred.graph.value_info)
    shapes = {item.name: item.type.tensor_type.shape.dim for item in items}
    return {name: axes[1].dim_value for name, axes in shapes.items() if len(axes) == 4 and axes[1].dim_value}


def _is_pointwise(node: NodeProto) -> bool:
    if node.op_type != "Conv" or onnxgraph.attribute(node, "group", 1) != 1:
        return False
    lists = {item.name: list(item.ints) for item in node.attribute}
    return (
        set(lists.get("kernel_shape", [0])) == {1}
        and set(lists.get("strides") or [1]) == {1}
        and set(lists.get("pads") or [0]) == {0}
        and not next((item.s for item in node.attribute if item.name == "auto_pad"), b"").startswith(b"SAME")
    )


def _split(graph: GraphProto, mix: NodeProto, channels: dict[str, int]) -> None:
    """Conv(Concat(Resize(a), b)) -> Resize(Conv(a)) + Conv(b), the bias going with one of them."""
    made, used, known = onnxgraph.producers(graph), onnxgraph.consumers(graph), onnxgraph.constants(graph)
    outputs = {item.name for item in graph.output}
    stack = made.get(mix.input[0])
    if stack is None or stack.op_type != "Concat" or onnxgraph.attribute(stack, "axis", 0) != 1:
        return
    if len(used[stack.output[0]]) != 1 or stack.output[0] in outputs or mix.input[1] not in known:
        return
    weight = known[mix.input[1]].astype(np.float32)  # (M, C, 1, 1)
    widths = [channels.get(name, 0) for name in stack.input]
    enlarged = [_enlargement(made.get(name), used, outputs) for name in stack.input]
    worth = [width >= weight.shape[0] for width, resize in zip(widths, enlarged, strict=True) if resize is not None]
    if not worth or not all(worth) or 0 in widths or sum(widths) != weight.shape[1]:
        return
    parts: list[str] = []
    start = 0
    for name, width, resize in zip(stack.input, widths, enlarged, strict=True):
        piece = onnxgraph.add_constant(graph, f"{mix.input[1]}_part", weight[:, start : start + width])
        start += width
        bias = list(mix.input[2:]) if not parts else []
        source = name if resize is None else resize.input[0]
        part = onnxgraph.fresh(graph, f"{mix.output[0]}_part")
        graph.node.append(helper.make_node("Conv", [source, piece, *bias], [part], kernel_shape=[1, 1]))
        if resize is not None and not _keeps_size(resize, known):
            grown = NodeProto()
            grown.CopyFrom(resize)
            grown.name = ""
            grown.input[0], grown.output[0] = part, onnxgraph.fresh(graph, f"{part}_grown")
            graph.node.append(grown)
            part = grown.output[0]
        parts.append(part)
    graph.node.remove(mix)
    add_all(graph, parts, mix.output[0])
    onnxgraph.name_nodes(graph)


def add_all(graph: GraphProto, parts: list[str], target: str) -> None:
    """Nodes that add tensors of one shape, two at a time: Add has int8 kernels, Sum has none."""
    total = parts[0]
    for index, part in enumerate(parts[1:], start=2):
        name = target if index == len(parts) else onnxgraph.fresh(graph, f"{target}_sum")
        graph.node.append(helper.make_node("Add", [total, part], [name]))
        total = name


def _enlargement(node: NodeProto | None, used: dict[str, list[NodeProto]], outputs: set[str]) -> NodeProto | None:
    """The node, if it is a Resize that a 1x1 convolution may pass and that nothing else reads."""
    if node is None or node.op_type != "Resize":
        return None
    mode = next((item.s for item in node.attribute if item.name == "mode"), b"nearest")
    way = next((item.s for item in node.attribute if item.name == "coordinate_transformation_mode"), b"half_pixel")
    alone = len(used[node.output[0]]) == 1 and node.output[0] not in outputs
    # Cropping may fill with a constant, which a bias must not touch.
    # A Resize to computed sizes names the old number of channels.
    by_factor = len(node.input) == 3
    return node if alone and by_factor and mode in _ENLARGEMENTS and way != b"tf_crop_and_resize" else None


def _keeps_size(node: NodeProto, known: dict[str, NDArray[np.generic]]) -> bool:
    factors = known.get(node.input[2]) if len(node.input) > 2 else None
    return factors is not None and factors.size > 0 and bool(np.all(factors == 1))


def _merge(graph: GraphProto, mix: NodeProto) -> None:
    """MatMul -> Add -> Transpose -> Reshape -> 1x1 Conv of as many channels: the Conv goes into the weights before."""
    made, used, known = onnxgraph.producers(graph), onnxgraph.consumers(graph), onnxgraph.constants(graph)
    outputs = {item.name for item in graph.output}
    chain: list[NodeProto] = []
    name = mix.input[0]
    for kind in ("Reshape", "Transpose", "Add", "MatMul"):
        node = made.get(name)
        if node is None or node.op_type != kind or len(used[name]) != 1 or name in outputs:
            return
        chain.append(node)
        constant = [item in known for item in node.input]
        if kind == "Add" and constant == [True, False]:
            node.input[:] = [node.input[1], node.input[0]]
        name = node.input[0]
    _, transpose, add, product = chain
    names = [product.input[1], add.input[1], *mix.input[1:]]
    order = next((list(item.ints) for item in transpose.attribute if item.name == "perm"), [])
    if any(item not in known for item in names) or order != [0, 2, 1]:
        return
    projection, offset, weight, *bias = (known[item].astype(np.float64) for item in names)
    outputs_count, inputs_count = weight.shape[:2]
    if outputs_count != inputs_count or projection.ndim != 2 or offset.shape != (inputs_count,):
        return  # the Reshape names the number of channels, which must stay
    weight = weight.reshape(outputs_count, inputs_count)
    offset = weight @ offset + (bias[0] if bias else 0.0)
    product.input[1] = onnxgraph.add_constant(graph, f"{names[0]}_mixed", (projection @ weight.T).astype(np.float32))
    add.input[1] = onnxgraph.add_constant(graph, f"{names[1]}_mixed", offset.astype(np.float32))
    onnxgraph.rewire(graph.node, mix.output[0], mix.input[0])
    graph.node.remove(mix)
