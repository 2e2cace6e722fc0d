"""One precision's model and card from the float32 ones. Which of them is good enough is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from segx_core.card import Card, Session
from segx_core.datasets import Dataset
from segx_core.errors import DataError
from segx_export.half import to_half
from segx_export.tune import Tuned, quantize_tuned
from segx_export.weights import SESSION_CONFIG, quantize_weights


@dataclass(frozen=True)
class Candidate:
    """A model with its card, not yet a file."""

    model: ModelProto
    card: Card
    notes: tuple[str, ...] = ()
    """What was decided while it was built, in sentences for people."""


def build(
    precision: str, model: ModelProto, card: Card, dataset: Dataset | None, images: int, max_drop: float
) -> Candidate:
    """Build one precision.

    Args:
        precision: "fp16", "w8" or "int8".
        model: the float32 deploy model.
        card: its card.
        dataset: int8 calibrates on its training split; others need none.
        images: at most so many calibration pictures.
        max_drop: points of mean IoU the gate will allow; int8 leaves more in float where it must.

    Raises:
        DataError: int8 without training pictures.
    """
    made: ModelProto
    notes: tuple[str, ...] = ()
    match precision:
        case "int8":
            if dataset is None or not dataset.splits.get("train"):
                raise DataError("training pictures to calibrate int8 on", "none", "Name the data with --data.")
            session = Session(providers=("cpu",))  # ONNX Runtime's CUDA has no int8 convolution: slower than fp32
            tuned = quantize_tuned(model, _with(card, session=session), dataset, images, max_drop)
            made, notes = tuned.model, _told(tuned)
        case "w8":
            made, session = quantize_weights(model), Session(config=SESSION_CONFIG)
        case "fp16":
            made, session = to_half(model), Session()
        case _:
            raise AssertionError(precision)
    return Candidate(made, _with(card, precision=precision, session=session), notes)


def _told(tuned: Tuned) -> tuple[str, ...]:
    if tuned.stem == 0:
        return ()
    tried = ", ".join(f"{drop:.2f} with {stem}" for stem, drop in tuned.drops.items())
    return (
        f"int8: the first {tuned.stem} convolutions stay float; points of mean IoU lost on training pictures: {tried}",
    )


def _with(card: Card, **changes: Any) -> Card:
    """A changed copy of a card, validated again."""
    return Card.model_validate({**dict(card), **changes})
