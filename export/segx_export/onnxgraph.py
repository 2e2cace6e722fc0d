"""Small questions and edits on ONNX graphs that the passes of export share.

It knows graphs, nodes and initialisers; nothing of networks, cards or quality. Passes work on plain `onnx` protobufs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

HEAVY = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Nodes that carry the network's weights and nearly all its work."""
PACKING = "pack_labels"
"""Name of the one matrix product that is no part of a network: it packs bits, see labels.py."""


def producers(graph: GraphProto) -> dict[str, NodeProto]:
    """Tensor name -> the node that computes it; graph inputs and initialisers have none."""
    return {name: node for node in graph.node for name in node.output if name}


def consumers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """Tensor name -> the nodes that read it. Being a graph output does not count."""
    table: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            if name:
                table[name].append(node)
    return table


def constants(graph: GraphProto) -> dict[str, NDArray[np.generic]]:
    """Every initialiser and every `Constant` node's tensor, by name."""
    table = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            table.update(
                (node.output[0], numpy_helper.to_array(item.t)) for item in node.attribute if item.name == "value"
            )
    return table


def fresh(graph: GraphProto, stem: str) -> str:
    """A tensor name that stands nowhere in the graph yet."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {item.name for item in (*graph.initializer, *graph.input, *graph.output)}
    names = (stem if number == 0 else f"{stem}_{number}" for number in range(len(taken) + 1))
    return next(name for name in names if name not in taken)


def add_constant(graph: GraphProto, stem: str, value: NDArray[np.generic]) -> str:
    """Add an initialiser under a new name and return that name."""
    name = fresh(graph, stem)
    graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
    return name


def rewire(nodes: Iterable[NodeProto], old: str, new: str) -> None:
    """Let `nodes` read tensor `new` wherever they read `old`."""
    for node in nodes:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def attribute(node: NodeProto, name: str, default: int) -> int:
    """An integer attribute of a node."""
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def remove_dead(graph: GraphProto) -> None:
    """Drop nodes no output depends on, then initialisers and shape notes nobody reads."""
    needed = {item.name for item in graph.output}
    for node in reversed(graph.node):  # nodes stand in topological order
        if needed.intersection(node.output):
            needed.update(node.input)
    _keep(graph.node, [node for node in graph.node if needed.intersection(node.output)])
    _keep(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed])
    _keep(graph.value_info, [item for item in graph.value_info if item.name in needed])


def sort_nodes(graph: GraphProto) -> None:
    """Put nodes into topological order, keeping the present order where it is free."""
    made = producers(graph)
    placed: dict[int, NodeProto] = {}

    for root in graph.node:
        stack = [root]
        while stack:
            node = stack[-1]
            waiting = [made[name] for name in node.input if name in made and id(made[name]) not in placed]
            if waiting:
                stack.extend(waiting)
            else:
                placed.setdefault(id(stack.pop()), node)
    _keep(graph.node, list(placed.values()))


def surroundings(graph: GraphProto) -> tuple[str, ...]:
    """Names of the nodes before the first and after the last heavy node: normalisation, upsampling, argmax, sizes.

    They stay in float32 whatever the precision: they cost accuracy, not time.
    """
    made, used = producers(graph), consumers(graph)
    inside = {node.name for node in graph.node if node.op_type in HEAVY and node.name != PACKING}
    before = set(inside)  # a heavy node or one with a heavy ancestor
    for node in graph.node:
        if any(made[name].name in before for name in node.input if name in made):
            before.add(node.name)
    after = set(inside)  # a heavy node or one with a heavy descendant
    for node in reversed(graph.node):
        if any(reader.name in after for name in node.output for reader in used.get(name, [])):
            after.add(node.name)
    return tuple(node.name for node in graph.node if node.name not in before & after)


def name_nodes(graph: GraphProto) -> None:
    """Give every node a name of its own; passes and the quantizer speak of nodes by name."""
    seen: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{index}"
        seen.add(node.name)


def forget_origins(graph: GraphProto) -> None:
    """Drop what the exporter noted of each node's source lines: a megabyte in a SegFormer's file."""
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


def check(model: ModelProto) -> None:
    """onnx.checker with full type and shape inference; raises onnx.checker.ValidationError for our own bugs."""
    onnx.checker.check_model(model, full_check=True)


def _keep(field: object, items: list[object] | list[NodeProto]) -> None:
    copies = [_copy(item) for item in items]
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]


def _copy(item: object) -> object:
    clone = type(item)()
    clone.CopyFrom(item)  # type: ignore[attr-defined]
    return clone
