"""The end of a multilabel deploy graph: from logits to bit fields, one bit for every class above its threshold.

The bits are added up by a matrix product, which ONNX Runtime does several times faster than a sum over an axis or
bitwise operators: (1, K) powers of two times (N, K, pixels) of 0 and 1. Knows nothing of padding or of networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import GraphProto, NodeProto, helper

from segx_core import bits
from segx_export import onnxgraph


def above(graph: GraphProto, logits: str, target: str, thresholds: Sequence[float], kind: int) -> list[NodeProto]:
    """The nodes that make (N, H, W) bit fields of (N, K, H, W) float32 logits; to be added to the graph.

    Args:
        graph: gets the constants.
        logits: name of the tensor that is there.
        target: name of the tensor to make.
        thresholds: K probabilities.
        kind: element type of the bit fields, wide enough for K bits.
    """
    count = len(thresholds)
    cuts = np.array([bits.cut(one) for one in thresholds], np.float32).reshape(1, count, 1, 1)
    powers = np.array([[1 << index for index in range(count)]], np.float32)  # up to 2^16: exact in float32
    floor = onnxgraph.add_constant(graph, "cuts", cuts)
    values = onnxgraph.add_constant(graph, "bit_values", powers)
    flat = onnxgraph.add_constant(graph, "flat", np.array([0, 0, -1], np.int64))
    return [
        helper.make_node("Greater", [logits, floor], ["there"]),
        helper.make_node("Cast", ["there"], ["there_float"], to=1),
        helper.make_node("Reshape", ["there_float", flat], ["there_flat"]),
        helper.make_node("MatMul", [values, "there_flat"], ["fields_flat"], name=onnxgraph.PACKING),
        helper.make_node("Cast", ["fields_flat"], ["fields_narrow"], to=kind),
        helper.make_node("Shape", [logits], ["fields_count"], start=0, end=1),
        helper.make_node("Shape", [logits], ["fields_sides"], start=2, end=4),
        helper.make_node("Concat", ["fields_count", "fields_sides"], ["fields_shape"], axis=0),
        helper.make_node("Reshape", ["fields_narrow", "fields_shape"], [target]),
    ]
