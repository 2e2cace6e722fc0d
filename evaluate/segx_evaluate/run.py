"""Runs models over one split of a data set and scores them, one decode for all of them.

First the models are timed on a sample of the pictures with nothing beside them; then they run over the whole split,
while the next picture is decoded and the last one scored in threads of their own. Several models take turns on each
picture. It knows nothing of reports, and of a model only what model.py says.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segx_core.datasets import Dataset, Sample, spread
from segx_core.errors import ConfigError, DataError
from segx_core.onnx_metadata import card_for
from segx_core.predictor import Predictor
from segx_core.progress import track
from segx_core.runner import ClassMap, UInt8
from segx_evaluate.agreement import agreed_classes
from segx_evaluate.model import Model
from segx_evaluate.prefetch import prefetch
from segx_evaluate.probabilities import Answer, asker
from segx_evaluate.result import Result
from segx_evaluate.score import Probabilities, Score
from segx_evaluate.timing import measure, summarise, turns

TIMED = 50
"""How many pictures, spread over the split, each model is timed on by default."""

_UNSCORED = 2  # pictures that may wait for their score before the models wait for the scorer


def evaluate(model: Model, dataset: Dataset, split: str, *, limit: int | None = None, timed: int = TIMED) -> Result:
    """Score one model on one split.

    Args:
        model: usually a Predictor.
        dataset: its ignore index decides what counts.
        split: name of the split.
        limit: at most this many pictures, spread evenly over the split; None for all.
        timed: latency is measured on at most this many of them.

    Raises:
        DataError: the classes differ, the split is missing or empty, or a mask is wrong.
        PictureError: a picture cannot be read; names the file.
        ConfigError: `limit` or `timed` is below 1.
    """
    return evaluate_together([model], dataset, split, limit=limit, timed=timed)[0]


def evaluate_many(
    paths: Sequence[Path],
    dataset: Dataset,
    split: str,
    provider: str = "auto",
    *,
    card: Path | None = None,
    threads: int | None = None,
    limit: int | None = None,
    timed: int = TIMED,
) -> list[Result]:
    """Load and score several files side by side; further arguments as `Predictor.load` and `evaluate` take them.

    `card` is for third-party files: of several files, only those without a card of their own get it.
    """
    models = [
        Predictor.load(path, provider=provider, card=card_for(path, card, len(paths)), threads=threads)
        for path in paths
    ]
    return evaluate_together(models, dataset, split, limit=limit, timed=timed)


def evaluate_together(
    models: Sequence[Model], dataset: Dataset, split: str, *, limit: int | None = None, timed: int = TIMED
) -> list[Result]:
    """Score several models on the same pictures, taking turns on each. Arguments and errors as `evaluate`."""
    for option, value in (("limit", limit), ("timed", timed)):
        if value is not None and value < 1:
            raise ConfigError(f"{option} of at least 1", str(value))
    names = _names([model.path for model in models])
    classes = [agreed_classes(model.card, dataset, name) for model, name in zip(models, names, strict=True)]
    samples = spread(dataset.split(split), limit)
    if not samples:
        raise DataError(f"pictures in the split '{split}' of {dataset.source}", "none")

    sample = track(spread(samples, timed), "timing", unit="pictures")
    pictures: Iterator[UInt8] = (dataset.read(chosen)[0] for chosen in sample)
    seconds = measure([model.predict for model in models], pictures)

    contestants = [
        _Contestant(name, asker(model), Score(len(own), dataset.ignore_index, dataset.task))
        for model, name, own in zip(models, names, classes, strict=True)
    ]
    spent = _run(contestants, dataset, samples)
    return [
        Result(
            model=contestant.name,
            provider=model.provider,
            classes=own,
            names=tuple(sample.name for sample in samples),
            matrix=contestant.score.matrix,
            boundary=np.stack(contestant.score.boundary),
            ece=contestant.score.calibration.ece() if contestant.score.calibration else None,
            brier=contestant.score.calibration.brier() if contestant.score.calibration else None,
            latency=summarise(times),
            images_per_second=len(samples) / whole,
            size_bytes=model.size_bytes,
            gate=model.card.gate,
        )
        for model, contestant, own, times, whole in zip(models, contestants, classes, seconds, spent, strict=True)
    ]


@dataclass(frozen=True)
class _Contestant:
    name: str
    ask: Answer
    score: Score


def _run(contestants: Sequence[_Contestant], dataset: Dataset, samples: Sequence[Sample]) -> list[float]:
    """Feed every picture to every model. Returns for each the seconds its run over the split took.

    Time in a model is that model's; all other time (waiting for pictures and scores) is shared out evenly, so that the
    sum is the time on the clock, and one model alone gets all of it.
    """
    inside = [0.0] * len(contestants)
    unscored: deque[Future[None]] = deque()
    begin = time.perf_counter()
    with ThreadPoolExecutor(1, thread_name_prefix="score") as scorer:
        ready = track(prefetch(samples, dataset.read), "evaluating", total=len(samples), unit="pictures")
        for round_, (sample, (picture, target)) in enumerate(ready):
            for index in turns(len(contestants), round_):
                contestant = contestants[index]
                start = time.perf_counter()
                prediction, probabilities = contestant.ask(picture)
                inside[index] += time.perf_counter() - start
                unscored.append(scorer.submit(_count, contestant, sample, target, prediction, probabilities))
            while len(unscored) > _UNSCORED * len(contestants):
                unscored.popleft().result()
        for waiting in unscored:
            waiting.result()
    shared = (time.perf_counter() - begin - sum(inside)) / len(contestants)
    return [own + shared for own in inside]


def _count(
    contestant: _Contestant, sample: Sample, target: ClassMap, prediction: ClassMap, probabilities: Probabilities | None
) -> None:
    try:
        contestant.score.add(target, prediction, probabilities)
    except DataError as error:
        where = f"{error.got} ({contestant.name} on {sample.image})"
        raise DataError(error.expected, where, error.cure) from error


def _names(paths: Sequence[Path]) -> list[str]:
    """File names, or whole paths where two files have the same name."""
    names = [path.name for path in paths]
    return [str(path) if names.count(path.name) > 1 else path.name for path in paths]
