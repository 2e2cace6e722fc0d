"""Weights-only int8: a file a quarter of the size that computes in float32, for any provider.

Each weight becomes int8 with one scale per output channel and a DequantizeLinear in front of its reader. With
`session.disable_quant_qdq` ONNX Runtime folds those when it loads the file, so speed is that of float32. Biases and
everything that is not a weight stay as they are. It needs no data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper

from segx_export import onnxgraph

SESSION_CONFIG = {"session.disable_quant_qdq": "1"}
_SPARED = 0.03  # first, last and depthwise layers hold few of the weights and make most of the noise


def quantize_weights(model: ModelProto) -> ModelProto:
    """A copy of a float32 deploy model whose weights are int8, symmetric, one scale per output channel."""
    small = ModelProto()
    small.CopyFrom(model)
    graph = small.graph
    known = onnxgraph.constants(graph)
    chosen = _worthwhile(graph, known)
    done: dict[tuple[str, int], str] = {}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type not in onnxgraph.HEAVY or len(node.input) < 2 or node.input[1] not in known:
            continue
        if node.input[1] not in chosen:
            continue
        weight = known[node.input[1]]
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
    """float32 weight -> int8 of the same shape and (M,) float32 scales; weight is close to int8 * scale."""
    others = tuple(index for index in range(weight.ndim) if index != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
    integers = np.clip(np.round(weight / scales), -127, 127).astype(np.int8)
    return integers, scales.reshape(-1)


def _worthwhile(graph: GraphProto, known: dict[str, NDArray[np.generic]]) -> set[str]:
    """Names of the weights that become int8: all but the smallest ones, which together are _SPARED of all."""
    sizes = {
        node.input[1]: known[node.input[1]].size
        for node in graph.node
        if node.op_type in onnxgraph.HEAVY
        and len(node.input) > 1
        and node.input[1] in known
        and known[node.input[1]].dtype == np.float32
    }
    chosen, spared = set(sizes), 0
    for name in sorted(sizes, key=lambda key: sizes[key]):
        spared += sizes[name]
        if spared > _SPARED * sum(sizes.values()):
            break
        chosen.remove(name)
    return chosen
