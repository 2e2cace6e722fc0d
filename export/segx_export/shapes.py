"""Writes the shapes a graph reshapes to as plain products of batch, rows and columns, and turns tokens into maps late.

Exporters leave a trail of Shape, Slice, Squeeze and Concat in front of every Reshape. It costs little by itself, but in
an int8 graph each Shape of an 8-bit tensor makes ONNX Runtime bring the whole tensor back to float first. Every such
shape is a whole number times some of N, h and w (rows and columns in units of the size multiple); which, is found by
running the graph at three sizes. Then transformers' changes between tokens (N, HW, C) and maps (N, C, H, W) can be
written so that the channels stay last in memory, where int8 convolutions want them. It knows nothing of precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper

from segx_export import onnxgraph
from segx_export.probe import Count, Plane, shapes_and_values

_COUNTS: tuple[Count, ...] = ((2, 3, 5), (3, 5, 2), (2, 2, 3))  # apart enough to tell all eight products
_SHAPE_INPUT = {"Reshape": 1, "Expand": 1}
_POWERS = tuple((n, h, w) for n in (0, 1) for h in (0, 1) for w in (0, 1))


@dataclass(frozen=True)
class Product:
    """One axis: factor * N^n * h^h * w^w, each power 0 or 1."""

    factor: int
    powers: Count


@dataclass
class _Writer:
    """Adds the nodes that compute products, each only once."""

    graph: GraphProto
    plane: Plane
    made: dict[Product, str] = field(default_factory=dict)

    def vector(self, products: Sequence[Product]) -> str:
        """An int64 vector of these axes."""
        if all(product.powers == (0, 0, 0) for product in products):
            return onnxgraph.add_constant(self.graph, "shape", np.array([p.factor for p in products], np.int64))
        return self._add("Concat", [self._one(product) for product in products], "shape", axis=0)

    def _one(self, product: Product) -> str:
        if product not in self.made:
            self.made[product] = self._compute(product)
        return self.made[product]

    def _compute(self, product: Product) -> str:
        factor, powers = product.factor, product.powers
        if powers == (0, 0, 0) or factor != 1:
            number = onnxgraph.add_constant(self.graph, "factor", np.array([factor], np.int64))
            return number if powers == (0, 0, 0) else self._add("Mul", [self._one(Product(1, powers)), number], "side")
        if sum(powers) == 1:
            axis = self.plane.axes[powers.index(1)]
            side = self._add("Shape", [self.plane.name], "side", start=axis, end=axis + 1)
            if powers[0] or self.plane.multiple == 1:
                return side
            unit = onnxgraph.add_constant(self.graph, "unit", np.array([self.plane.multiple], np.int64))
            return self._add("Div", [side, unit], "side")
        first = powers.index(1)
        alone: Count = (int(first == 0), int(first == 1), int(first == 2))
        n, h, w = (power - single for power, single in zip(powers, alone, strict=True))
        return self._add("Mul", [self._one(Product(1, alone)), self._one(Product(1, (n, h, w)))], "side")

    def _add(self, kind: str, inputs: list[str], stem: str, **attributes: int) -> str:
        name = onnxgraph.fresh(self.graph, stem)
        node = helper.make_node(kind, inputs, [name])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.graph.node.append(node)
        return name


def fix_shapes(model: ModelProto, plane: Plane) -> ModelProto:
    """A copy with computed shapes written as products, and with token-to-map changes that keep channels last.

    Args:
        model: right for sides that are multiples of `plane.multiple`, with nothing padded yet.
        plane: its picture input.
    """
    fixed = ModelProto()
    fixed.CopyFrom(model)
    graph = fixed.graph
    known = onnxgraph.constants(graph)
    asking = [node for node in graph.node if node.op_type in _SHAPE_INPUT]
    vectors = [node.input[_SHAPE_INPUT[node.op_type]] for node in asking]
    tensors = [name for node in asking if node.op_type == "Reshape" for name in (node.input[0], node.output[0])]
    if not asking:
        return fixed
    runs = shapes_and_values(fixed, plane, tensors, vectors, _counts(plane))
    writer = _Writer(graph, plane)
    for node, vector in zip(asking, vectors, strict=True):
        fitted = _fit([run[1][vector] for run in runs], _counts(plane))
        if fitted is not None and vector not in known:
            node.input[_SHAPE_INPUT[node.op_type]] = writer.vector(fitted)
    for node in asking:
        if node.op_type == "Reshape":
            before, after = ([run[0][name] for run in runs] for name in (node.input[0], node.output[0]))
            _channels_last(graph, writer, node, before, after)
    onnxgraph.sort_nodes(graph)
    onnxgraph.remove_dead(graph)
    onnxgraph.name_nodes(graph)
    return fixed


def _counts(plane: Plane) -> tuple[Count, ...]:
    grain = max(1, 16 // plane.multiple)  # networks without a multiple still need some pixels
    return tuple((batch, rows * grain, columns * grain) for batch, rows, columns in _COUNTS)


def _fit(values: Sequence[np.ndarray], counts: Sequence[Count]) -> list[Product] | None:
    """Each element as a product that is right in every run; None where one is not."""
    products = []
    for elements in zip(*values, strict=True):
        product = next((p for p in (_factor(elements, counts, powers) for powers in _POWERS) if p is not None), None)
        if product is None:
            return None
        products.append(product)
    return products


def _factor(elements: Sequence[int], counts: Sequence[Count], powers: Count) -> Product | None:
    units = [int(np.prod([side**power for side, power in zip(count, powers, strict=True)])) for count in counts]
    factor, rest = divmod(int(elements[0]), units[0])
    fits = rest == 0 and all(int(element) == factor * unit for element, unit in zip(elements, units, strict=True))
    return Product(factor, powers) if fits else None


def _channels_last(
    graph: GraphProto,
    writer: _Writer,
    reshape: NodeProto,
    before: Sequence[tuple[int, ...]],
    after: Sequence[tuple[int, ...]],
) -> None:
    """Swap a Reshape between tokens and maps with the Transpose beside it, where channels are the second axis of both.

    tokens -> Transpose -> Reshape -> maps becomes tokens -> Reshape (N, H, W, C) -> Transpose -> maps, and back alike.
    """
    made, used = onnxgraph.producers(graph), onnxgraph.consumers(graph)
    outputs = {item.name for item in graph.output}
    if any(len(a) < 3 or len(b) < 3 or a[:2] != b[:2] for a, b in zip(before, after, strict=True)):
        return
    ranks = (len(before[0]), len(after[0]))
    source, target = reshape.input[0], reshape.output[0]
    if ranks == (3, 4):
        turn = made.get(source)
        if turn is None or not _is_turn(turn) or len(used[source]) != 1 or source in outputs:
            return
        maps = _fit([np.array([n, h, w, c]) for n, c, h, w in after], _counts(writer.plane))
        if maps is None:
            return
        inner = onnxgraph.fresh(graph, f"{target}_nhwc")
        nodes = [
            helper.make_node("Reshape", [turn.input[0], writer.vector(maps)], [inner]),
            helper.make_node("Transpose", [inner], [target], perm=[0, 3, 1, 2]),
        ]
        old = [reshape, turn]
    elif ranks == (4, 3):
        readers = used[target]
        if len(readers) != 1 or not _is_turn(readers[0]) or target in outputs:
            return
        tokens = _fit([np.array([n, t, c]) for n, c, t in after], _counts(writer.plane))
        if tokens is None:
            return
        inner = onnxgraph.fresh(graph, f"{source}_nhwc")
        nodes = [
            helper.make_node("Transpose", [source], [inner], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [inner, writer.vector(tokens)], [readers[0].output[0]]),
        ]
        old = [reshape, readers[0]]
    else:
        return
    for node in old:
        graph.node.remove(node)
    graph.node.extend(nodes)


def _is_turn(node: NodeProto) -> bool:
    """Whether a node swaps the last two axes of three."""
    order = next((list(item.ints) for item in node.attribute if item.name == "perm"), [])
    return node.op_type == "Transpose" and order == [0, 2, 1]
