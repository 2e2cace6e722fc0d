"""Whether a card tells the truth about its graph: names, element types, ranks, sizes, channels. Judged once, at load.

Knows what ONNX Runtime says of a graph's inputs and outputs (`Port`) and nothing else of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segx_core.card import Card, InputSpec, OutputSpec
from segx_core.errors import CardError, near

_CURE = "Mend the card, or give the one that belongs to this file with --card."
_TYPES = {"float": "float32", "double": "float64", "float16": "float16"}


@dataclass(frozen=True)
class Port:
    """One input or output as the graph declares it."""

    name: str
    dtype: str
    """NumPy's name of the element type."""
    shape: tuple[int | str | None, ...]
    """Fixed axes as numbers, dynamic ones as names or None; empty where the graph says nothing."""

    @classmethod
    def of(cls, name: str, kind: str, shape: Sequence[int | str | None]) -> Port:
        """From ONNX Runtime's words, for example "tensor(float)"."""
        inner = kind.removeprefix("tensor(").removesuffix(")")
        return cls(name, _TYPES.get(inner, inner), tuple(shape))


def check(card: Card, inputs: Sequence[Port], outputs: Sequence[Port], source: str) -> None:
    """Holds a card against its graph.

    Args:
        card: what is claimed.
        inputs: what the graph takes.
        outputs: what the graph gives.
        source: the file, for messages.

    Raises:
        CardError: they contradict each other; names both sides.
    """
    taken = {port.name: port for port in inputs}
    given = {port.name: port for port in outputs}
    for spec in card.inputs:
        _named("input", spec.name, taken, source)
    for name in sorted(set(taken) - {spec.name for spec in card.inputs}):
        known = ", ".join(f"'{spec.name}'" for spec in card.inputs)
        raise CardError(
            f"a card that tells of every input of {source}", f"'{name}' in the graph, {known} in the card", _CURE
        )
    for output in card.outputs:
        _named("output", output.name, given, source)
    for spec in card.inputs:
        _same_type("input", spec, taken[spec.name], source)
        _same_shape("input", spec, taken[spec.name], source)
    for output in card.outputs:
        _same_type("output", output, given[output.name], source)
        _classes(card, output, given[output.name], source)
    _size(card, taken[card.image.name], source)


def _named(side: str, name: str, ports: dict[str, Port], source: str) -> None:
    if name not in ports:
        raise CardError(
            f"an {side} '{name}', as the card says, in {source}", f"a graph without it. {near(name, ports)}", _CURE
        )


def _same_type(side: str, spec: InputSpec | OutputSpec, port: Port, source: str) -> None:
    # A YAML card does not state the type of its output: only what was written is held against the graph.
    if "dtype" in spec.model_fields_set and spec.dtype != port.dtype:
        raise CardError(
            f"{side} '{spec.name}' of {source} to be {spec.dtype}, as the card says",
            f"{port.dtype} in the graph",
            _CURE,
        )


def _same_shape(side: str, spec: InputSpec, port: Port, source: str) -> None:
    if not port.shape:
        return
    agree = len(spec.shape) == len(port.shape) and all(
        not isinstance(claimed, int) or not isinstance(real, int) or claimed == real
        for claimed, real in zip(spec.shape, port.shape, strict=True)
    )
    if not agree:
        layout = f" ({spec.layout})" if spec.layout else ""
        raise CardError(
            f"{side} '{spec.name}' of {source} to be of shape {_text(spec.shape)}{layout}, as the card says",
            f"{_text(port.shape)} in the graph",
            _CURE,
        )


def _classes(card: Card, spec: OutputSpec, port: Port, source: str) -> None:
    if not port.shape or not (spec.is_map or spec.kind in ("logits", "probabilities")):
        return
    wanted = 3 if spec.is_map else 4
    if len(port.shape) != wanted:
        raise CardError(
            f"output '{spec.name}' of {source} to have {wanted} axes, being {spec.kind}",
            f"{_text(port.shape)} in the graph",
            _CURE,
        )
    if spec.is_map or card.vocabulary is not None:
        return
    axis = 3 if spec.layout == "NHWC" else 1
    channels = port.shape[axis]
    if isinstance(channels, int) and channels != len(card.classes):
        raise CardError(
            f"{len(card.classes)} classes, as the card says, on axis {axis} of output '{spec.name}' of {source} "
            f"({spec.layout or 'NCHW'})",
            f"{channels} channels in the graph, of shape {_text(port.shape)}",
            "List as many classes as the output has channels, in their order, or mend the layout.",
        )


def _size(card: Card, port: Port, source: str) -> None:
    if not port.shape:
        return
    _layout(card.image, port, source)
    rows, columns = port.shape[2:4] if card.image.layout == "NCHW" else port.shape[1:3]
    claimed = (card.size.height, card.size.width) if card.size.kind == "fixed" else (None, None)
    for real, said in zip((rows, columns), claimed, strict=True):
        if isinstance(real, int) and real != said:
            text = (
                f"pictures of any size ({card.size.kind})" if said is None else f"pictures of {claimed[0]}x{claimed[1]}"
            )
            raise CardError(
                f"{text}, as the card says, at input '{port.name}' of {source}",
                f"a graph that takes {rows}x{columns} only",
                f"In a YAML card: size: [{rows}, {columns}] under input.",
            )


def _layout(spec: InputSpec, port: Port, source: str) -> None:
    """Dynamic axes fit anything, so a swapped layout shows only in where the graph has its fixed channels."""
    here, there = (1, 3) if spec.layout == "NCHW" else (3, 1)
    if not isinstance(port.shape[here], int) and port.shape[there] == spec.shape[here]:
        other = "NHWC" if spec.layout == "NCHW" else "NCHW"
        raise CardError(
            f"input '{spec.name}' of {source} to be {spec.layout}, as the card says",
            f"{_text(port.shape)} in the graph, which is {other}",
            _CURE,
        )


def _text(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("?" if axis is None else str(axis) for axis in shape) + "]"
