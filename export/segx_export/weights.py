"""Weights-only int8: a file a quarter of the size that computes in float32, for any provider.

Each weight becomes int8 with one scale per output channel and a DequantizeLinear in front of its reader. With
`session.disable_quant_qdq` ONNX Runtime folds those when it loads the file, so speed is that of float32. Biases and
everything that is not a weight stay as they are. It needs no data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from segx_export import onnxgraph

SESSION_CONFIG = {"session.disable_quant_qdq": "1"}
_SHARES = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.8, 0.75)  # of the largest weight of a channel
_SMALLEST = 256  # weights under so many elements save nothing


def quantize_weights(model: ModelProto) -> ModelProto:
    """A copy of a float32 deploy model whose weights are int8, symmetric, one scale per output channel."""
    small = ModelProto()
    small.CopyFrom(model)
    graph = small.graph
    known = onnxgraph.constants(graph)
    done: dict[tuple[str, int], str] = {}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type not in onnxgraph.HEAVY or len(node.input) < 2 or node.input[1] not in known:
            continue
        weight = known[node.input[1]]
        if weight.dtype != np.float32 or weight.size < _SMALLEST:
            continue
        axis = _output_axis(node, weight.ndim)
        key = (node.input[1], axis)
        if key not in done:
            integers, scales = _symmetric(weight.astype(np.float32), axis)
            names = [
                onnxgraph.add_constant(graph, f"{key[0]}_{kind}", value)
                for kind, value in (("int8", integers), ("scale", scales))
            ]
            done[key] = onnxgraph.fresh(graph, f"{key[0]}_float")
            nodes.append(helper.make_node("DequantizeLinear", names, [done[key]], axis=axis))
        node.input[1] = done[key]
    for node in reversed(nodes):
        graph.node.insert(0, node)
    onnxgraph.remove_dead(graph)
    onnxgraph.name_nodes(graph)
    onnxgraph.check(small)
    return small


def _output_axis(node: NodeProto, dimensions: int) -> int:
    match node.op_type:
        case "Conv":
            return 0
        case "ConvTranspose":
            return 1
        case "Gemm":
            return 0 if onnxgraph.attribute(node, "transB", 0) else 1
        case _:
            return dimensions - 1


def _symmetric(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """float32 weight -> int8 of the same shape and (M,) float32 scales; weight is close to int8 * scale.

    Of a few ranges up to the largest value each channel takes the one with the least squared error: cutting off a lone
    large weight may round all others better.
    """
    others = tuple(index for index in range(weight.ndim) if index != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    full = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
    scales, least = full, np.full(full.shape, np.inf)
    for share in _SHARES:
        tried = (full * share).astype(np.float32)
        error = np.square(_rounded(weight, tried) * tried - weight).sum(axis=others, keepdims=True)
        scales, least = np.where(error < least, tried, scales), np.minimum(error, least)
    return _rounded(weight, scales).astype(np.int8), scales.reshape(-1).astype(np.float32)


def _rounded(weight: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(np.round(weight / scales), -127, 127)
