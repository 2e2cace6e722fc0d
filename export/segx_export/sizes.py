"""Gives a Resize its factor as a number where the exporter left arithmetic on shapes.

A decoder that upsamples to its skip's size multiplies by the same whole number every time, because the graph's sides
are multiples of the network's own. The number says more than the arithmetic: no Shape keeps a BatchNorm from folding,
and runtimes that want constant factors get them. Factors are found by running the graph at two sizes; a Resize whose
factor differs (global pooling) keeps its arithmetic.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from segx_export import onnxgraph


def fix_factors(model: ModelProto, multiple: int) -> ModelProto:
    """A copy of a traced model, (N, H, W, 3) uint8 with H and W multiples of `multiple`, with constant factors."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    nodes = [node for node in fixed.graph.node if node.op_type == "Resize" and len(node.input) > 3 and node.input[3]]
    if not nodes:
        return fixed
    sides = [(2 * multiple, 3 * multiple), (5 * multiple, 4 * multiple)]
    first, second = (_factors(fixed, nodes, (2, height, width, 3)) for height, width in sides)
    for node, one, other in zip(nodes, first, second, strict=True):
        if np.array_equal(one, other) and np.array_equal(one, np.round(one)):
            scales = onnxgraph.add_constant(fixed.graph, "factors", one.astype(np.float32))
            node.input[:] = [node.input[0], "", scales]
    onnxgraph.sort_nodes(fixed.graph)
    onnxgraph.remove_dead(fixed.graph)
    return fixed


def _factors(model: ModelProto, nodes: list[NodeProto], shape: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """Output over input size of each Resize, one number an axis, when the graph runs on a picture of `shape`."""
    probe = ModelProto()
    probe.CopyFrom(model)
    graph = probe.graph
    del graph.output[:]
    for index, node in enumerate(nodes):
        for kind, tensor in (("in", node.input[0]), ("out", node.output[0])):
            name = onnxgraph.fresh(graph, f"shape_{kind}_{index}")
            graph.node.append(helper.make_node("Shape", [tensor], [name]))
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, [4]))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    shapes = session.run(None, {graph.input[0].name: np.zeros(shape, np.uint8)})
    return [np.asarray(after) / np.asarray(before) for before, after in zip(shapes[::2], shapes[1::2], strict=True)]
