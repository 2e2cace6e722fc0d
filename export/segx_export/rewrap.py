"""Somebody else's network in the deploy form: raw uint8 pictures in, class maps of their size out.

What Predictor would do around the file by its card moves into the graph, in the same order and arithmetic: channel
order, normalisation, padding to the multiple, upsampling, argmax, cropping. A graph of one fixed size keeps it. The
network itself is not touched, only its names get a prefix, so that none can clash.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, compose, helper, numpy_helper

from segx_core.card import Axis, Card, InputSpec, Normalisation, OutputSpec
from segx_core.errors import ConfigError
from segx_export import onnxgraph
from segx_export.deploy import LOGITS, Outputs, deploy_card

_PREFIX = "net/"


def deploy_form(model: ModelProto, card: Card, outputs: Outputs) -> ModelProto:
    """The deploy form of a third-party float32 model.

    Args:
        model: from read_foreign.
        card: what must be done before and after it.
        outputs: "classmap" alone, or "probabilities" as well.

    Raises:
        ConfigError: probabilities of a network that gives class maps.
    """
    spec, image = card.prediction, card.image
    if outputs == "probabilities" and spec.kind == "classmap":
        raise ConfigError("outputs 'classmap' of a network that gives class maps", "'probabilities'", "Leave it out.")
    wrapped = compose.add_prefix(model, _PREFIX)
    graph = wrapped.graph
    batch = batch_axis(wrapped)
    del graph.value_info[:], graph.input[:], graph.output[:]
    builder = _Builder(graph)
    network = list(graph.node)
    fed, sides = _before(builder, card)
    onnxgraph.rewire(network, _PREFIX + image.name, fed)
    padded = card.size.kind == "multiple"
    if spec.kind == "classmap":
        _from_classmap(builder, spec, len(card.classes), sides, padded=padded)
    else:
        _from_scores(builder, spec, len(card.classes), sides, outputs, padded=padded)

    rows, columns = _fixed(card.size.height, "H"), _fixed(card.size.width, "W")
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, rows, columns, 3]))
    kind = _integers(len(card.classes))
    graph.output.append(helper.make_tensor_value_info("classmap", kind, [batch, rows, columns]))
    if outputs == "probabilities":
        shape = [batch, len(card.classes), rows, columns]
        graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape))
    graph.name = wrapped.producer_name = "segx"
    onnxgraph.sort_nodes(graph)
    onnxgraph.remove_dead(graph)
    onnxgraph.name_nodes(graph)
    onnxgraph.check(wrapped)
    return wrapped


def batch_axis(model: ModelProto) -> Axis:
    """The one batch size a model takes, or "N"."""
    axes = model.graph.input[0].type.tensor_type.shape.dim
    return _fixed(axes[0].dim_value if axes else None, "N")


def rewrapped_card(card: Card, outputs: Outputs, batch: Axis, opset: int) -> Card:
    """The card of the deploy form; `batch` as batch_axis gives it."""
    made = deploy_card(card, outputs, opset)
    known = card.image.normalisation
    documented = known.model_copy(update={"where": "graph"}) if known else None
    if card.size.kind != "fixed":
        return made.model_copy(update={"inputs": (_image(batch, "H", "W", documented),)})
    sides = (_fixed(card.size.height, "H"), _fixed(card.size.width, "W"))
    return made.model_copy(update={"inputs": (_image(batch, *sides, documented),), "size": card.size})


def drop_idle_resize(model: ModelProto) -> None:
    """Take out the last Resize where its factors turned out to be 1: the network gives full size itself."""
    known = onnxgraph.constants(model.graph)
    node = onnxgraph.producers(model.graph).get(LOGITS)
    if node is None or node.op_type != "Resize" or len(node.input) != 3:
        return
    if node.input[2] not in known or not np.all(known[node.input[2]] == 1):
        return
    source = node.input[0]
    model.graph.node.remove(node)
    onnxgraph.rewire(model.graph.node, source, LOGITS)
    maker = onnxgraph.producers(model.graph)[source]
    maker.output[:] = [LOGITS if name == source else name for name in maker.output]
    onnxgraph.remove_dead(model.graph)


def _image(batch: Axis, rows: Axis, columns: Axis, normalisation: Normalisation | None) -> InputSpec:
    return InputSpec(name="image", shape=(batch, rows, columns, 3), normalisation=normalisation)


def _fixed(value: int | None, name: str) -> Axis:
    return value or name


def _integers(classes: int) -> int:
    return int(TensorProto.UINT8 if classes <= 256 else TensorProto.UINT16)


class _Builder:
    """Appends nodes to a graph, one call a node, and names what they give."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self._count = 0

    def add(self, op: str, *inputs: str, named: str | None = None, **attributes: Any) -> str:
        """Append a node and return its output's name."""
        self._count += 1
        name = named or f"around_{self._count}_{op.lower()}"
        self.graph.node.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        """Add an initialiser and return its name."""
        self._count += 1
        name = f"around_{self._count}_constant"
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        """Add an int64 vector."""
        return self.constant(np.array(values, np.int64))


def _before(builder: _Builder, card: Card) -> tuple[str, str]:
    """From the picture to what the network takes; its name and that of its sides, (2,) int64 height and width."""
    image, add = card.image, builder.add
    nchw = image.layout == "NCHW"
    tensor = add("Transpose", "image", perm=[0, 3, 1, 2]) if nchw else "image"
    axis = 1 if nchw else 3
    spread = (-1, 1, 1) if nchw else (-1,)
    if image.color == "BGR":
        tensor = add("Gather", tensor, builder.integers(2, 1, 0), axis=axis)
    if image.color == "GRAY":
        tensor = _grey(builder, tensor, axis, spread, whole=image.dtype == "uint8")
    elif image.dtype != "uint8":
        tensor = add("Cast", tensor, to=TensorProto.FLOAT)
    rule = image.normalisation
    if rule is not None and rule.where == "runner":
        gain = np.array([1.0 / (rule.scale * std) for std in rule.std], np.float32)
        shift = np.array([-mean / std for mean, std in zip(rule.mean, rule.std, strict=True)], np.float32)
        if np.any(gain != 1):
            tensor = add("Mul", tensor, builder.constant(gain.reshape(spread)))
        if np.any(shift != 0):
            tensor = add("Add", tensor, builder.constant(shift.reshape(spread)))
    sides = add("Slice", add("Shape", "image"), builder.integers(1), builder.integers(3), named="image_sides")
    if card.size.kind != "multiple":
        return tensor, sides
    growth = add("Mod", add("Neg", sides), builder.integers(card.size.multiple))  # the divisor's sign: 0..m-1
    lead, trail = (6, 0) if nchw else (5, 1)
    parts = [builder.integers(*[0] * lead), growth, *([builder.integers(*[0] * trail)] if trail else [])]
    tensor = add("Pad", tensor, add("Concat", *parts, axis=0), mode="edge")
    return tensor, add("Add", sides, growth)


def _grey(builder: _Builder, tensor: str, axis: int, spread: tuple[int, ...], *, whole: bool) -> str:
    """Luma of thirdparty.grey, rounded alike: every product and sum stays under 2^24, so float32 holds it exactly."""
    add = builder.add
    weights = builder.constant(np.array([19595, 38470, 7471], np.float32).reshape(spread))
    scaled = add("Mul", add("Cast", tensor, to=TensorProto.FLOAT), weights)
    total = add(
        "Add",
        add("ReduceSum", scaled, builder.integers(axis), keepdims=1),
        builder.constant(np.array(32768, np.float32)),
    )
    luma = add("Floor", add("Mul", total, builder.constant(np.array(1 / 65536, np.float32))))
    return add("Cast", luma, to=TensorProto.UINT8) if whole else luma


def _from_scores(
    builder: _Builder, spec: OutputSpec, classes: int, sides: str, outputs: Outputs, *, padded: bool
) -> None:
    add = builder.add
    scores = _PREFIX + spec.name
    if spec.layout == "NHWC":
        scores = add("Transpose", scores, perm=[0, 3, 1, 2])
    front = add("Slice", add("Shape", scores), builder.integers(0), builder.integers(2))
    size = add("Concat", front, sides, axis=0)
    add("Resize", scores, "", "", size, named=LOGITS, mode="linear", coordinate_transformation_mode="half_pixel")
    indices = add("Cast", add("ArgMax", LOGITS, axis=1, keepdims=0), to=_integers(classes))
    _crop(builder, indices, "classmap", (1, 2), padded=padded)
    if outputs == "probabilities":
        chances = add("Softmax", LOGITS, axis=1) if spec.kind == "logits" else LOGITS
        _crop(builder, chances, "probabilities", (2, 3), padded=padded)


def _from_classmap(builder: _Builder, spec: OutputSpec, classes: int, sides: str, *, padded: bool) -> None:
    add = builder.add
    indices = add("Cast", _PREFIX + spec.name, to=TensorProto.INT32)
    front = add("Slice", add("Shape", indices), builder.integers(0), builder.integers(1))
    size = add("Concat", front, sides, axis=0)
    # Each pixel takes the one its centre falls into: floor(x + 0.5) of half_pixel's x, as geometry.nearest.
    full = add(
        "Resize", indices, "", "", size, mode="nearest", nearest_mode="round_prefer_ceil",
        coordinate_transformation_mode="half_pixel",
    )  # fmt: skip
    _crop(builder, add("Cast", full, to=_integers(classes)), "classmap", (1, 2), padded=padded)


def _crop(builder: _Builder, source: str, target: str, axes: tuple[int, int], *, padded: bool) -> None:
    """Back to the picture's own sides."""
    if not padded:
        builder.add("Identity", source, named=target)
        return
    builder.add("Slice", source, builder.integers(0, 0), "image_sides", builder.integers(*axes), named=target)
