"""The end of a graph that gives probabilities: from logits, by the link the network was trained with, as ONNX nodes.

The same arithmetic as segx_trainer's links, which are the yardstick; sizes stay free. Knows nothing of padding,
cropping or networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper

from segx_export import onnxgraph
from segx_trainer.losses.links import Link


def likely(graph: GraphProto, logits: str, target: str, classes: int, link: Link) -> list[NodeProto]:
    """The nodes that make (N, K, H, W) float32 probabilities of logits of that shape; to be added to the graph.

    Args:
        graph: gets the constants.
        logits: name of the tensor that is there.
        target: name of the tensor to make.
        classes: K.
        link: of the loss the logits were trained by.
    """
    if link == "softmax":
        return [helper.make_node("Softmax", [logits], [target], axis=1)]
    made = _Nodes(graph)
    axis = made.constant("link_axis", np.array([1], np.int64))
    half = logits if link == "sparsemax" else made("Mul", logits, made.number(0.5))
    # The largest score at 0 and none below -1, where no threshold lies.
    raw = made("Sub", half, made("ReduceMax", half, axis, keepdims=1))
    scores = made("Max", raw, made.number(-1))
    ordered = made("TopK", scores, made.constant("link_classes", np.array([classes], np.int64)), axis=1)
    rank = made.constant("link_rank", np.arange(1, classes + 1, dtype=np.float32).reshape(1, classes, 1, 1))
    along = made.constant("link_along", np.array(1, np.int64))
    sums = made("CumSum", ordered, along)
    if link == "sparsemax":
        taus = made("Div", made("Sub", sums, made.number(1)), rank)
        tau = made("ReduceMax", taus, axis, keepdims=1)
        made("Max", made("Sub", scores, tau), made.number(0), named=target)
        return made.nodes
    mean = made("Div", sums, rank)
    squares = made("Div", made("CumSum", made("Mul", ordered, ordered), along), rank)
    spread = made("Sub", squares, made("Mul", mean, mean))
    under = made("Div", made("Sub", made.number(1), made("Mul", rank, spread)), rank)
    taus = made("Sub", mean, made("Sqrt", made("Max", under, made.number(0))))
    held = made("Cast", made("LessOrEqual", taus, ordered), to=TensorProto.INT64)
    support = made("ReduceSum", held, axis, keepdims=1)
    last = made("Sub", support, made.constant("link_one", np.array(1, np.int64)))
    root = made("Max", made("Sub", scores, made("GatherElements", taus, last, axis=1)), made.number(0))
    made("Mul", root, root, named=target)
    return made.nodes


class _Nodes:
    """Nodes in order; calling it adds one and gives the name of its first output."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.nodes: list[NodeProto] = []

    def __call__(self, kind: str, *inputs: str, named: str = "", **attributes: Any) -> str:
        output = named or f"link_{len(self.nodes)}"
        outputs = [output, f"{output}_places"] if kind == "TopK" else [output]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return output

    def constant(self, stem: str, value: np.ndarray[Any, Any]) -> str:
        return onnxgraph.add_constant(self.graph, stem, value)

    def number(self, value: float) -> str:
        return self.constant("link_number", np.array(value, np.float32))
