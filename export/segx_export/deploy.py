"""The deploy graph: raw uint8 pictures of any size in, maps of that size out, as one ONNX model.

torch traces only the network, at sizes that are multiples of its own multiple, where its padding vanishes: the
symbolic sizes stay simple, which makes tracing fast and the graph small. Padding, argmax and cropping are then put
around it here, in ONNX; labels.py has what a multilabel model does instead of argmax, links.py the probabilities. The
map is cropped, not the logits: the same pixels for a fraction of the copying. It knows nothing of precision or
quality; parity.py compares what comes out with `DeployGraph`, at odd sizes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper
from torch import Tensor, nn

from segx_core.card import Axis, Card, InputSpec, OutputSpec, SizeRule
from segx_core.meaning import meaning
from segx_export import onnxgraph
from segx_export.labels import above
from segx_export.links import likely
from segx_export.probe import Plane
from segx_export.quiet import quiet
from segx_export.shapes import fix_shapes
from segx_export.simplify import simplify
from segx_export.sizes import fix_factors, probes
from segx_trainer.decide import decide
from segx_trainer.losses.links import Link, probabilities

Outputs = Literal["classmap", "probabilities"]
OPSET = 20
LOGITS = "logits_padded"
"""Name of the tensor inside the graph that holds (N, K, Hp, Wp) float32 logits before cropping."""
_PIXELWISE = frozenset({"Transpose", "Cast", "Sub", "Div", "Mul", "Add", "Identity"})


class DeployGraph(nn.Module):
    """What the ONNX file must compute, in torch: the yardstick of parity.

    Args:
        network: (B, 3, H, W) uint8 -> (B, K, H, W) float32 logits, any H and W, with `num_classes`.
        thresholds: of a multilabel network's classes; none for a multiclass one.
        link: what makes probabilities of a multiclass network's logits, that of its loss.
    """

    def __init__(self, network: nn.Module, thresholds: Sequence[float] = (), link: Link = "softmax") -> None:
        super().__init__()
        self.network = network
        self.link = link
        self.thresholds = tuple(thresholds)
        narrow = map_type(int(cast(Any, network).num_classes), thresholds) == np.uint8
        self.dtype = torch.uint8 if narrow else torch.uint16

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, 3) uint8 -> map (N, H, W) uint8 or uint16, probabilities (N, K, H, W) float32."""
        logits = self.network(image.permute(0, 3, 1, 2))
        chances = logits.sigmoid() if self.thresholds else probabilities(self.link, logits)
        return decide(logits, self.thresholds).to(self.dtype), chances


def map_type(classes: int, thresholds: Sequence[float]) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
    """The element type of the map."""
    return meaning("multilabel" if thresholds else "multiclass").map_type(classes)


def map_name(thresholds: Sequence[float]) -> Literal["labels", "classmap"]:
    """The name and kind of the map among the outputs."""
    return "labels" if thresholds else "classmap"


def deploy_model(
    network: nn.Module,
    outputs: Outputs = "classmap",
    opset: int = OPSET,
    thresholds: Sequence[float] = (),
    link: Link = "softmax",
) -> ModelProto:
    """The float32 deploy graph of a network in eval mode, simplified, checked.

    Args:
        network: as DeployGraph's, with `num_classes` and `size_multiple`; with `fixed_size` (height, width) where it
            takes one size only.
        outputs: "classmap" alone, which is `labels` for a multilabel network, or "probabilities" as well.
        opset: ONNX operator set.
        thresholds: as DeployGraph's.
        link: as DeployGraph's.
    """
    multiple, classes = int(cast(Any, network).size_multiple), int(cast(Any, network).num_classes)
    fixed = fixed_size(network)
    model = simplify(fix_factors(_trace(network.eval(), multiple, fixed, opset), probes(multiple, fixed)))
    if fixed is None:
        model = fix_shapes(model, Plane(multiple=multiple))
    model.graph.name = "segx"
    model.producer_name = "segx"
    graph = model.graph
    del graph.value_info[:]  # they speak of sizes before padding
    _rename(model, graph.output[0].name, LOGITS)
    if multiple > 1:
        _pad_before_network(model, multiple)
    _finish(model, classes, outputs, thresholds, link, fixed or ("H", "W"), cropped=multiple > 1)
    onnxgraph.sort_nodes(graph)
    onnxgraph.remove_dead(graph)
    onnxgraph.name_nodes(graph)
    onnxgraph.forget_origins(graph)
    onnxgraph.check(model)
    return model


def fixed_size(network: nn.Module) -> tuple[int, int] | None:
    """(height, width) of a network that takes one size only."""
    size: tuple[int, int] | None = getattr(network, "fixed_size", None)
    return size


def deploy_card(card: Card, outputs: Outputs, opset: int = OPSET) -> Card:
    """The run's card with the inputs, outputs and sizes of its deploy graph."""
    name = map_name(card.thresholds)
    narrow = map_type(len(card.classes), card.thresholds) == np.uint8
    decided = OutputSpec(name=name, kind=name, dtype="uint8" if narrow else "uint16")
    probabilities = OutputSpec(
        name="probabilities",
        kind="probabilities",
        dtype="float32",
        shape=("N", len(card.classes), "H", "W"),
        layout="NCHW",
    )
    return card.model_copy(
        update={
            "inputs": (InputSpec(name="image", normalisation=card.image.normalisation),),
            "outputs": (decided,) if outputs == "classmap" else (decided, probabilities),
            "size": SizeRule(),
            "opset": opset,
            "precision": "fp32",
        }
    )


def fix_size(model: ModelProto, card: Card, size: tuple[int, int]) -> tuple[ModelProto, Card]:
    """Copies of a dynamic deploy model and its card that take one (height, width): runtimes may plan for it."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    sides = {"H": size[0], "W": size[1]}
    for item in (*fixed.graph.input, *fixed.graph.output):
        for axis in item.type.tensor_type.shape.dim:
            if axis.dim_param in sides:
                axis.dim_value = sides[axis.dim_param]

    def settled(shape: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(sides.get(str(axis), axis) for axis in shape)

    return fixed, card.model_copy(
        update={
            "inputs": tuple(spec.model_copy(update={"shape": settled(spec.shape)}) for spec in card.inputs),
            "outputs": tuple(spec.model_copy(update={"shape": settled(spec.shape)}) for spec in card.outputs),
            "size": SizeRule(kind="fixed", height=size[0], width=size[1]),
        }
    )


class _Nhwc(nn.Module):
    """The network with the picture's channels last."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.network(image.permute(0, 3, 1, 2)))


def _trace(network: nn.Module, multiple: int, fixed: tuple[int, int] | None, opset: int) -> ModelProto:
    """(N, m*h, m*w, 3) uint8 -> (N, K, m*h, m*w) float32 logits; N is free, and h and w are unless `fixed`."""
    batch, rows, columns = (torch.export.Dim(name) for name in ("N", "h", "w"))
    sides = (rows, columns) if multiple == 1 else (multiple * rows, multiple * columns)
    free = {0: batch} if fixed else {0: batch, 1: sides[0], 2: sides[1]}
    # Sizes unlike each other and unlike 0 and 1, which torch would take for constants.
    size = fixed or (multiple * max(2, 64 // multiple), multiple * max(3, 96 // multiple))
    example = torch.zeros(2, *size, 3, dtype=torch.uint8)
    with quiet(), torch.no_grad():
        program = torch.export.export(_Nhwc(network).eval(), (example,), dynamic_shapes=(free,), strict=False)
        exported = torch.onnx.export(
            program, dynamo=True, input_names=["image"], output_names=["logits"], opset_version=opset, verbose=False
        )
    assert exported is not None
    return exported.model_proto


def _rename(model: ModelProto, old: str, new: str) -> None:
    onnxgraph.rewire(model.graph.node, old, new)
    for node in model.graph.node:
        node.output[:] = [new if name == old else name for name in node.output]


def _pad_before_network(model: ModelProto, multiple: int) -> None:
    """Pad right and bottom with zeros where the per-pixel preamble (layout, cast, normalisation) ends."""
    graph = model.graph
    tensor, readers = _end_of_preamble(model)
    shapes = [node for node in onnxgraph.consumers(graph)["image"] if node.op_type == "Shape"]
    side = onnxgraph.add_constant(graph, "side", np.array([multiple], np.int64))
    nodes = [
        helper.make_node("Shape", ["image"], ["image_sides"], start=1, end=3),
        helper.make_node("Neg", ["image_sides"], ["minus_sides"]),
        helper.make_node("Mod", ["minus_sides", side], ["growth"]),  # ONNX Mod takes the divisor's sign: 0..m-1
        # All eight numbers, no `axes`: ONNX Runtime 1.31 takes the input for one without when it moves a Transpose.
        helper.make_node("Concat", [_zeros(model, 6), "growth"], ["pads"], axis=0),
        helper.make_node("Pad", [tensor, "pads"], ["padded"], mode="constant"),
    ]
    if shapes:  # what the network asks of the picture's size, it means of the padded one
        one = _zeros(model, 1)
        nodes += [
            helper.make_node("Shape", ["image"], ["image_shape"]),
            helper.make_node("Concat", [one, "growth", one], ["growth_nhwc"], axis=0),
            helper.make_node("Add", ["image_shape", "growth_nhwc"], ["padded_shape"]),
        ]
    graph.node.extend(nodes)
    onnxgraph.rewire(readers, tensor, "padded")
    for node in shapes:
        _ask_padded_shape(model, node)


def _zeros(model: ModelProto, count: int) -> str:
    return onnxgraph.add_constant(model.graph, "zeros", np.zeros(count, np.int64))


def _end_of_preamble(model: ModelProto) -> tuple[str, list[NodeProto]]:
    """The last tensor computed from each pixel alone, and the nodes that read it."""
    known = onnxgraph.constants(model.graph)
    used = onnxgraph.consumers(model.graph)
    tensor = "image"
    while True:
        readers = [node for node in used[tensor] if node.op_type != "Shape"]
        follows = len(readers) == 1 and readers[0].op_type in _PIXELWISE
        if not follows or any(name != tensor and name not in known for name in readers[0].input):
            return tensor, readers
        tensor = readers[0].output[0]


def _ask_padded_shape(model: ModelProto, node: NodeProto) -> None:
    """Answer a Shape of the picture with (a part of) the padded one, which is arithmetic on sizes alone."""
    graph = model.graph
    bounds = onnxgraph.attribute(node, "start", 0), onnxgraph.attribute(node, "end", 4)
    starts, ends = (onnxgraph.add_constant(graph, "bound", np.array([bound], np.int64)) for bound in bounds)
    graph.node.append(helper.make_node("Slice", ["padded_shape", starts, ends], [node.output[0]]))
    graph.node.remove(node)


def _finish(
    model: ModelProto,
    classes: int,
    outputs: Outputs,
    thresholds: Sequence[float],
    link: Link,
    sides: tuple[int | str, int | str],
    *,
    cropped: bool,
) -> None:
    """From padded logits to the outputs: argmax, the narrow integer type, the crop, optionally probabilities.

    Of a multilabel network thresholds and sigmoid instead.
    """
    graph = model.graph
    kind = TensorProto.UINT8 if map_type(classes, thresholds) == np.uint8 else TensorProto.UINT16
    name = map_name(thresholds)
    decided = f"{name}_padded" if cropped else name
    if thresholds:
        graph.node.extend(above(graph, LOGITS, decided, thresholds, kind))
    else:
        graph.node.extend(
            [
                helper.make_node("ArgMax", [LOGITS], ["classmap_int64"], axis=1, keepdims=0),
                helper.make_node("Cast", ["classmap_int64"], [decided], to=kind),
            ]
        )
    if cropped:
        graph.node.append(_crop(model, decided, name, (1, 2)))
    made = [helper.make_tensor_value_info(name, kind, ["N", *sides])]
    if outputs == "probabilities":
        target = "probabilities_padded" if cropped else "probabilities"
        if thresholds:
            graph.node.append(helper.make_node("Sigmoid", [LOGITS], [target]))
        else:
            graph.node.extend(likely(graph, LOGITS, target, classes, link))
        if cropped:
            graph.node.append(_crop(model, target, "probabilities", (2, 3)))
        made.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes, *sides]))
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *sides, 3]))
    graph.output.extend(made)


def _crop(model: ModelProto, source: str, target: str, axes: tuple[int, int]) -> NodeProto:
    """Back to the picture's own sides."""
    starts = _zeros(model, 2)
    where = onnxgraph.add_constant(model.graph, "crop_axes", np.array(axes, np.int64))
    return helper.make_node("Slice", [source, starts, "image_sides", where], [target])
