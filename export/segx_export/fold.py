"""Folds BatchNormalization into the convolution before it, on the ONNX graph.

The exporter leaves those whose convolution also feeds a `Shape` (a later Resize asks for its size). A BatchNorm keeps
the shape, so that Shape may just as well read the BatchNorm's output; then nothing stands between the two. It knows
nothing of quantization, which needs this done first: a BatchNorm left over costs a pass through memory in float.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto

from segx_export import onnxgraph

Float = NDArray[np.float64]


def fold_batch_norms(model: ModelProto) -> ModelProto:
    """A copy in which every BatchNormalization that follows a convolution has gone into its weights.

    Sums are done in float64, so outputs agree with the unfolded graph to float32 rounding. A BatchNorm that does not
    follow a convolution, or whose convolution is also read by something that computes with it, stays.
    """
    folded = ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    _skip_identities(graph)
    for node in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        _fold(graph, node)
    onnxgraph.sort_nodes(graph)
    onnxgraph.remove_dead(graph)
    return folded


def _skip_identities(graph: GraphProto) -> None:
    """Let readers of an Identity read its input, so that equal weights are seen as the constants they are."""
    outputs = {item.name for item in graph.output}
    for node in graph.node:
        if node.op_type == "Identity" and node.output[0] not in outputs:
            onnxgraph.rewire(graph.node, node.output[0], node.input[0])


def _fold(graph: GraphProto, norm: NodeProto) -> None:
    convolution = onnxgraph.producers(graph).get(norm.input[0])
    if convolution is None or convolution.op_type not in ("Conv", "ConvTranspose"):
        return
    inner, outer = convolution.output[0], norm.output[0]
    readers = [node for node in onnxgraph.consumers(graph)[inner] if node.output[0] != outer]
    if inner in {item.name for item in graph.output} or any(node.op_type != "Shape" for node in readers):
        return
    known = onnxgraph.constants(graph)
    has_bias = len(convolution.input) > 2 and bool(convolution.input[2])
    names = [*norm.input[1:5], *convolution.input[1 : 3 if has_bias else 2]]
    if any(name not in known for name in names):
        return
    values: list[Float] = [known[name].astype(np.float64) for name in names]
    gain, offset, mean, variance, weight = values[:5]
    epsilon = next((item.f for item in norm.attribute if item.name == "epsilon"), 1e-5)
    scale = gain / np.sqrt(variance + epsilon)  # (M,), M output channels
    bias = offset + ((values[5] if has_bias else 0.0) - mean) * scale
    groups = onnxgraph.attribute(convolution, "group", 1)
    weight = _scaled(weight, scale, groups, transposed=convolution.op_type == "ConvTranspose")

    weight_name = onnxgraph.add_constant(graph, f"{convolution.input[1]}_folded", weight.astype(np.float32))
    bias_name = onnxgraph.add_constant(graph, f"{convolution.input[1]}_folded_bias", bias.astype(np.float32))
    convolution.input[:] = [convolution.input[0], weight_name, bias_name]
    onnxgraph.rewire(readers, inner, outer)
    graph.node.remove(norm)
    convolution.output[0] = outer


def _scaled(weight: Float, scale: Float, groups: int, *, transposed: bool) -> Float:
    """Multiply each output channel's filter. Conv: (M, C/g, kh, kw). ConvTranspose: (C, M/g, kh, kw)."""
    if not transposed:
        return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    per_group = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return (per_group * scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))).reshape(weight.shape)
