"""One precision's model and card from the float32 ones. Which of them is good enough is decided elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from segx_core.card import Card, Session
from segx_core.datasets import Dataset
from segx_core.errors import DataError
from segx_core.runner import UInt8
from segx_export.calibrate import Feeds
from segx_export.half import to_half
from segx_export.quantize import CPU, TENSORRT
from segx_export.search import Searched, search
from segx_export.weights import SESSION_CONFIG, quantize_weights


@dataclass(frozen=True)
class Candidate:
    """A model with its card, not yet a file."""

    model: ModelProto
    card: Card
    notes: tuple[str, ...] = ()
    """What was decided while it was built, in sentences for people."""
    searched: Searched | None = None
    """How an int8 model was found; None for other precisions."""
    feed: Callable[[UInt8], Feeds] | None = None
    """A picture (H, W, 3) as the graph's inputs; None for graphs that take pictures of any size as they are."""


SESSIONS = {
    # ONNX Runtime's CUDA provider has no int8 convolution: int8 would be slower there than fp32.
    "int8": Session(providers=("cpu",)),
    # A CPU runs this file too, but it is not made for it.
    "int8-trt": Session(providers=("tensorrt", "cpu")),
    "w8": Session(config=SESSION_CONFIG),
    "fp16": Session(providers=("cuda", "cpu")),
}
"""What each compressed file is meant for, by precision."""


def build(precision: str, reference: Candidate, dataset: Dataset | None, images: int, max_drop: float) -> Candidate:
    """Build one precision.

    Args:
        precision: "fp16", "w8", "int8" or "int8-trt".
        reference: the float32 model with its card.
        dataset: int8 calibrates on its training split; others need none.
        images: at most so many calibration pictures.
        max_drop: points of mean IoU the gate will allow; int8 leaves more in float where it must.

    Raises:
        DataError: int8 without training pictures.
    """
    model = reference.model
    card = _with(reference.card, precision=precision, session=SESSIONS[precision])
    match precision:
        case "int8" | "int8-trt":
            if dataset is None or not dataset.splits.get("train"):
                raise DataError("training pictures to calibrate int8 on", "none", "Name the data with --data.")
            scheme = CPU if precision == "int8" else TENSORRT
            found = search(model, card, dataset, images, max_drop, scheme, reference.feed)
            return Candidate(found.model, card, found.sentences(), found, reference.feed)
        case "w8":
            return Candidate(quantize_weights(model), card)
        case "fp16":
            return Candidate(to_half(model), card)
        case _:
            raise AssertionError(precision)


def _with(card: Card, **changes: Any) -> Card:
    """A changed copy of a card, validated again."""
    return Card.model_validate({**dict(card), **changes})
