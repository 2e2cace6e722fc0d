"""How many convolutions at the input of an int8 file stay float, chosen on training pictures.

All-int8 comes first and usually stays. The first convolutions of MobileNet-type networks spread their channels over
very unlike ranges, which one scale an activation tensor cannot hold; they are cheap, so when too much is lost the first
2, 4, 8, 16 of the graph stay float. The pictures that decide are training pictures that calibration has not seen: the
held-out split is left to the gate, which judges once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from segx_core.card import Card
from segx_core.datasets import Dataset, Sample, spread
from segx_core.predictor import Predictor
from segx_core.progress import track
from segx_core.runner import UInt8
from segx_export.feeding import calibration_feeds, ports_of
from segx_export.measure import quality
from segx_export.modelfile import write_model
from segx_export.quantize import prepare, quantize

STEMS = (0, 2, 4, 8, 16)
"""Convolutions left float, in the order they are tried."""
TUNING_PICTURES = 32
_MARGIN = 0.5  # part of the allowed loss that tuning accepts: training pictures flatter, and there are few of them


@dataclass(frozen=True)
class Tuned:
    """An int8 model and what was decided for it."""

    model: ModelProto
    stem: int
    """Convolutions at the input that stay float."""
    drops: dict[int, float]
    """Loss of mean IoU in points on the tuning pictures, by stem tried."""


def quantize_tuned(model: ModelProto, card: Card, dataset: Dataset, images: int, max_drop: float) -> Tuned:
    """An int8 model of a float32 one, with as few float convolutions as its loss on training pictures allows.

    Args:
        model: from deploy_model.
        card: for the int8 file, its session options included.
        dataset: calibrates and tunes on its training split, which must not be empty.
        images: at most so many calibration pictures.
        max_drop: points of mean IoU the gate will allow.
    """
    chosen = spread(dataset.split("train"), images)
    seen = {sample.name for sample in chosen}
    others = [sample for sample in dataset.split("train") if sample.name not in seen]
    tuning = spread(others or chosen, TUNING_PICTURES)
    prepared = prepare(model)
    convolutions = [node.name for node in prepared.graph.node if node.op_type == "Conv"]
    target = _MARGIN * max(max_drop, 0.0)
    drops: dict[int, float] = {}
    best: tuple[float, int, ModelProto] | None = None
    for stem in (count for count in STEMS if count < len(convolutions)):
        feeds = calibration_feeds(card, ports_of(prepared), _pictures(dataset, chosen))
        quantized = quantize(prepared, feeds, keep_float=tuple(convolutions[:stem]))
        drops[stem] = _drop(model, quantized, card, dataset, tuning)
        if best is None or drops[stem] < best[0]:
            best = (drops[stem], stem, quantized)
        if drops[stem] <= target:
            break
    assert best is not None  # STEMS begins with 0, and every network has a convolution
    return Tuned(best[2], best[1], drops)


def _drop(
    reference: ModelProto, candidate: ModelProto, card: Card, dataset: Dataset, samples: Sequence[Sample]
) -> float:
    """Loss of mean IoU in points on `samples`; 0 where they hold no labelled pixel."""
    with tempfile.TemporaryDirectory(prefix="segx-") as folder:
        paths = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        for path, model in zip(paths, (reference, candidate), strict=True):
            write_model(model, card, path)
        runners = [Predictor.load(path, provider="cpu") for path in paths]
        before, after = quality(runners, dataset, samples, "tuning int8").miou
    return 0.0 if before != before else (before - after) * 100  # NaN: nothing labelled


def _pictures(dataset: Dataset, samples: Sequence[Sample]) -> Iterator[UInt8]:
    for sample in track(samples, "calibrating int8", unit="pictures"):
        yield dataset.read(sample)[0]
