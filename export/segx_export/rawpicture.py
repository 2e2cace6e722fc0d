"""Lets an int8 network take the picture's bytes as they are: they are 8-bit activations already.

Normalisation is a factor and an offset a channel, which the first convolution can hold. What is left in front of it is
"byte minus z", and a byte with scale 1 and zero point z says just that; so nothing is computed and nothing is rounded.
z is one number for all channels, near the mean colour. Where the convolution pads, it sees grey z in place of the mean
colour: a difference of some grey levels on the outermost pixels, which is the one thing that is not exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper

from segx_export import onnxgraph

BYTES = "picture_bytes"
"""The (N, 3, H, W) uint8 tensor that stands for the quantized picture."""
CENTRED = "picture_centred"
"""The same as float32 with z taken away; the first convolution reads it."""


def take_bytes(model: ModelProto) -> ModelProto:
    """A copy of a deploy model whose normalisation has gone into its first convolution.

    The model itself where its picture goes anywhere else than into one plain convolution.
    """
    taken = ModelProto()
    taken.CopyFrom(model)
    graph = taken.graph
    known, used = onnxgraph.constants(graph), onnxgraph.consumers(graph)
    chain = _chain(graph, used, known)
    if chain is None:
        return model
    turn, affine, pad, convolution = chain
    weight = known[convolution.input[1]].astype(np.float64)  # (M, 3, k, k)
    gain, offset = _affine(affine, known)
    grey = int(np.clip(np.round(np.mean(-offset / gain)), 0, 255))
    scaled = weight * gain.reshape(1, 3, 1, 1)
    bias = (weight * (gain * grey + offset).reshape(1, 3, 1, 1)).sum(axis=(1, 2, 3))
    if len(convolution.input) > 2:
        bias = bias + known[convolution.input[2]]
    stem = convolution.input[1]
    convolution.input[:] = [
        CENTRED,
        onnxgraph.add_constant(graph, f"{stem}_of_bytes", scaled.astype(np.float32)),
        onnxgraph.add_constant(graph, f"{stem}_of_bytes_bias", bias.astype(np.float32)),
    ]
    for node in affine:
        graph.node.remove(node)
    if pad is None:
        turn.output[0] = BYTES
    else:
        fill = onnxgraph.add_constant(graph, "grey_byte", np.array(grey, np.uint8))
        pad.input[:] = [turn.output[0], pad.input[1], fill]
        pad.output[0] = BYTES
    level = onnxgraph.add_constant(graph, "grey", np.array(grey, np.float32))
    floats = onnxgraph.fresh(graph, "picture_float")
    graph.node.extend(
        [
            helper.make_node("Cast", [BYTES], [floats], name="picture_to_float", to=1),
            helper.make_node("Sub", [floats, level], [CENTRED], name="centre_picture"),
        ]
    )
    onnxgraph.sort_nodes(graph)
    onnxgraph.remove_dead(graph)
    return taken


def overrides(prepared: ModelProto) -> dict[str, list[dict[str, NDArray[np.generic]]]]:
    """How the quantizer must take the centred picture; empty for a model that `take_bytes` left alone."""
    grey = _grey(prepared.graph)
    if grey is None:
        return {}
    return {CENTRED: [{"scale": np.array(1.0, np.float32), "zero_point": np.array(grey, np.uint8)}]}


def drop_rounding(quantized: ModelProto) -> None:
    """Let what reads the quantized picture read the bytes, in place."""
    graph = quantized.graph
    for node in [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == CENTRED]:
        onnxgraph.rewire(graph.node, node.output[0], BYTES)
        graph.node.remove(node)
    onnxgraph.remove_dead(graph)


def _grey(graph: GraphProto) -> int | None:
    node = onnxgraph.producers(graph).get(CENTRED)
    return None if node is None else int(onnxgraph.constants(graph)[node.input[1]].item())


def _chain(
    graph: GraphProto, used: dict[str, list[NodeProto]], known: dict[str, NDArray[np.generic]]
) -> tuple[NodeProto, list[NodeProto], NodeProto | None, NodeProto] | None:
    """Transpose, Cast and per-channel arithmetic, perhaps Pad, convolution; None where anything else is in the way."""
    first = graph.input[0].name
    if graph.input[0].type.tensor_type.elem_type != 2 or len(graph.input) != 1:  # uint8
        return None

    def reader(name: str) -> NodeProto | None:
        nodes = used[name]
        if name == first:  # sizes may be asked of the picture itself, which stays
            nodes = [node for node in nodes if node.op_type != "Shape"]
        return nodes[0] if len(nodes) == 1 else None

    turn = reader(first)
    if turn is None or turn.op_type != "Transpose" or list(turn.attribute[0].ints) != [0, 3, 1, 2]:
        return None
    affine: list[NodeProto] = []
    node = reader(turn.output[0])
    while node is not None and node.op_type in ("Cast", "Sub", "Div", "Mul", "Add"):
        name = affine[-1].output[0] if affine else turn.output[0]
        others = [known.get(item) for item in node.input if item != name]
        if node.input[0] != name or any(item is None or item.size not in (1, 3) for item in others):
            return None
        affine.append(node)
        node = reader(node.output[0])
    pad = None
    if (
        node is not None
        and node.op_type == "Pad"
        and len(node.input) < 4
        and not (len(node.input) > 2 and node.input[2])
    ):
        pad, node = node, reader(node.output[0])
    plain = node is not None and node.op_type == "Conv" and onnxgraph.attribute(node, "group", 1) == 1
    if not affine or affine[0].op_type != "Cast" or node is None or not plain:
        return None
    if node.input[1] not in known or known[node.input[1]].shape[1] != 3:
        return None
    if len(node.input) > 2 and node.input[2] not in known:
        return None
    return turn, affine, pad, node


def _affine(
    nodes: list[NodeProto], known: dict[str, NDArray[np.generic]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Per-channel arithmetic as gain and offset, (3,) float64 each."""
    gain, offset = np.ones(3), np.zeros(3)
    for node in nodes:
        if node.op_type == "Cast":
            continue
        value = np.broadcast_to(known[node.input[1]].astype(np.float64).reshape(-1), (3,))
        match node.op_type:
            case "Sub":
                offset = offset - value
            case "Add":
                offset = offset + value
            case "Mul":
                gain, offset = gain * value, offset * value
            case _:
                gain, offset = gain / value, offset / value
    return gain, offset
