"""One precision's model and card from the float32 ones. Which of them is good enough is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from segx_core.card import Card, Session
from segx_core.datasets import Dataset, Sample, spread
from segx_core.errors import DataError
from segx_core.progress import track
from segx_core.runner import UInt8
from segx_export.half import to_half
from segx_export.quantize import quantize
from segx_export.weights import SESSION_CONFIG, quantize_weights


@dataclass(frozen=True)
class Candidate:
    """A model with its card, not yet a file."""

    model: ModelProto
    card: Card


def build(precision: str, model: ModelProto, card: Card, dataset: Dataset | None, images: int) -> Candidate:
    """Build one precision.

    Args:
        precision: "fp16", "w8" or "int8".
        model: the float32 deploy model.
        card: its card.
        dataset: int8 calibrates on its training split; others need none.
        images: at most so many calibration pictures.

    Raises:
        DataError: int8 without training pictures.
    """
    made: ModelProto
    match precision:
        case "int8":
            if dataset is None or not dataset.splits.get("train"):
                raise DataError("training pictures to calibrate int8 on", "none", "Name the data with --data.")
            chosen = spread(dataset.split("train"), images)
            made = quantize(model, _pictures(dataset, chosen))
            session = Session(providers=("cpu",))  # ONNX Runtime's CUDA has no int8 convolution: slower than fp32
        case "w8":
            made, session = quantize_weights(model), Session(config=SESSION_CONFIG)
        case "fp16":
            made, session = to_half(model), Session()
        case _:
            raise AssertionError(precision)
    return Candidate(made, _with(card, precision=precision, session=session))


def _with(card: Card, **changes: Any) -> Card:
    """A changed copy of a card, validated again."""
    return Card.model_validate({**dict(card), **changes})


def _pictures(dataset: Dataset, samples: Sequence[Sample]) -> Iterator[UInt8]:
    for sample in track(samples, "calibrating int8", unit="pictures"):
        yield dataset.read(sample)[0]
