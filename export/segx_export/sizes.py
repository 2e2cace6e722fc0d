"""Gives a Resize its factor as a number where the exporter left arithmetic on shapes.

A decoder that upsamples to its skip's size multiplies by the same whole number every time, because the graph's sides
are multiples of the network's own, or fixed. The number says more than the arithmetic: no Shape keeps a BatchNorm from
folding, and runtimes that want constant factors get them. Factors are found by running the graph at two sizes; a Resize
whose factor differs (global pooling) keeps its arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

from segx_export import onnxgraph


def fix_factors(model: ModelProto, probes: Sequence[Mapping[str, NDArray[np.generic]]]) -> ModelProto:
    """A copy of a float32 model with constant factors.

    Args:
        model: checked.
        probes: two feeds of sizes the graph takes, unlike each other in what the graph leaves free.
    """
    fixed = ModelProto()
    fixed.CopyFrom(model)
    nodes = [node for node in fixed.graph.node if node.op_type == "Resize" and _asks_for_size(node)]
    if not nodes:
        return fixed
    first, second = (_factors(fixed, nodes, probe) for probe in probes)
    for node, one, other in zip(nodes, first, second, strict=True):
        if np.array_equal(one, other) and np.array_equal(one, np.round(one)):
            scales = onnxgraph.add_constant(fixed.graph, "factors", one.astype(np.float32))
            node.input[:] = [node.input[0], "", scales]
    onnxgraph.sort_nodes(fixed.graph)
    onnxgraph.remove_dead(fixed.graph)
    return fixed


def probes(
    multiple: int, fixed: tuple[int, int] | None = None
) -> tuple[Mapping[str, NDArray[np.uint8]], Mapping[str, NDArray[np.uint8]]]:
    """Two pictures for a traced network, (N, H, W, 3) uint8: H and W multiples of `multiple`, or `fixed`."""
    sides = [fixed, fixed] if fixed else [(2 * multiple, 3 * multiple), (5 * multiple, 4 * multiple)]
    first, second = ({"image": np.zeros((2, height, width, 3), np.uint8)} for height, width in sides)
    return first, second


def _asks_for_size(node: NodeProto) -> bool:
    """A Resize to a size computed elsewhere, whose factor would mean the same."""
    words = {item.name: item.s.decode() for item in node.attribute if item.type == AttributeProto.STRING}
    return (
        len(node.input) > 3
        and bool(node.input[3])
        and not any(item.name == "axes" for item in node.attribute)
        and words.get("keep_aspect_ratio_policy", "stretch") == "stretch"
        and words.get("coordinate_transformation_mode") != "tf_crop_and_resize"
    )


def _factors(
    model: ModelProto, nodes: list[NodeProto], probe: Mapping[str, NDArray[np.generic]]
) -> list[NDArray[np.float64]]:
    """Output over input size of each Resize, one number an axis, when the graph runs on `probe`."""
    measured = ModelProto()
    measured.CopyFrom(model)
    graph = measured.graph
    del graph.output[:]
    for index, node in enumerate(nodes):
        for kind, tensor in (("in", node.input[0]), ("out", node.output[0])):
            name = onnxgraph.fresh(graph, f"shape_{kind}_{index}")
            graph.node.append(helper.make_node("Shape", [tensor], [name]))
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, [None]))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(measured.SerializeToString(), options, providers=["CPUExecutionProvider"])
    shapes = session.run(None, dict(probe))
    return [np.asarray(after) / np.asarray(before) for before, after in zip(shapes[::2], shapes[1::2], strict=True)]
