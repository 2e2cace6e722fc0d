"""Quality and speed of two files side by side: confusion matrices over pictures, interleaved medians of time.

It loads nothing and decides nothing: it takes runners, so a file, a service or a simulated device measures alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segx_core.confusion import miou, target_miou
from segx_core.datasets import Dataset, Sample
from segx_core.meaning import meaning
from segx_core.progress import track
from segx_core.runner import Runner, UInt8

Milliseconds = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """How several runners did on the same pictures, in the runners' order."""

    images: int
    matrices: tuple[NDArray[np.int64], ...]
    """(K, K) int64 each, rows = target; (K, 2, 2) of multilabel data."""
    agreement: tuple[float, ...]
    """Share of pixels, ignored ones included, with the value of the first runner, 0-1."""
    differing: tuple[tuple[float, ...], ...]
    """Each runner's share of pixels with another value than the first runner's, picture by picture, 0-1."""
    each: NDArray[np.int64]
    """(pictures, runners, K, K): the matrices of single pictures; (pictures, runners, K, 2, 2) of multilabel data."""

    @property
    def wrong(self) -> NDArray[np.float64]:
        """(runners, pictures): share of labelled pixels (and classes, of multilabel data) that are not the target's."""
        right = np.trace(self.each, axis1=-2, axis2=-1)
        counted = self.each.sum(axis=(-2, -1))
        if right.ndim == 3:  # (pictures, runners, K)
            right, counted = right.sum(axis=-1), counted.sum(axis=-1)
        return np.asarray(1 - right / np.maximum(counted, 1)).T

    @property
    def miou(self) -> tuple[float, ...]:
        """Mean IoU of each runner, a fraction; NaN where nothing was labelled."""
        return tuple(miou(matrix) for matrix in self.matrices)

    def interval(self, index: int, draws: int = 1000, seed: int = 0) -> tuple[float, float] | None:
        """95 % bootstrap interval of the loss of mean IoU of runner `index` against the first, points.

        Pictures are drawn with replacement, the same ones for both (Efron 1979). None with fewer than 5 pictures.
        """
        if self.images < 5:
            return None
        random = np.random.default_rng(seed)
        losses = []
        for _ in range(draws):
            drawn = self.each[random.integers(0, self.images, self.images)].sum(axis=0)
            losses.append((target_miou(drawn[0]) - target_miou(drawn[index])) * 100)
        low, high = np.nanpercentile(losses, [2.5, 97.5])
        return float(low), float(high)


def quality(runners: Sequence[Runner], dataset: Dataset, samples: Sequence[Sample], what: str) -> Quality:
    """Run every picture through every runner.

    Args:
        runners: the first is the one others are compared with.
        dataset: reads the samples.
        samples: pictures with label maps, at least one.
        what: for the progress line, "comparing fp32 and int8".
    """
    classes = len(dataset.classes)
    reader = meaning(dataset.task)
    each = np.zeros((len(samples), len(runners), *reader.no_counts(classes).shape), np.int64)
    same = [0 for _ in runners]
    differing: list[list[float]] = [[] for _ in runners]
    pixels = 0
    for number, sample in enumerate(track(samples, what, unit="pictures")):
        picture, target = dataset.read(sample)
        maps = [runner.run(picture[None])[0] for runner in runners]
        pixels += target.size
        for index, classmap in enumerate(maps):
            each[number, index] = reader.count(target, classmap, classes, dataset.ignore_index)
            equal = int((classmap == maps[0]).sum())
            same[index] += equal
            differing[index].append(1 - equal / target.size)
    agreement = tuple(count / pixels for count in same)
    return Quality(len(samples), tuple(each.sum(axis=0)), agreement, tuple(map(tuple, differing)), each)


def latencies(runners: Sequence[Runner], picture: UInt8, seconds: float = 4.0) -> tuple[Milliseconds, ...]:
    """Milliseconds of one picture (H, W, 3) a runner and turn, taken in turns so that all share the machine's moods.

    Args:
        runners: what to time; each is warmed up first.
        picture: decoded, at the size that matters.
        seconds: about how long to measure all of them together; at least 5 and at most 200 turns are taken.
    """
    batch = picture[None]
    for runner in runners:
        runner.run(batch)
    times: list[list[float]] = [[] for _ in runners]
    start = time.perf_counter()
    turns = 0
    while turns < 5 or (turns < 200 and time.perf_counter() - start < seconds):
        for runner, record in zip(runners, times, strict=True):
            before = time.perf_counter()
            runner.run(batch)
            record.append(time.perf_counter() - before)
        turns += 1
    return tuple(np.array(record) * 1e3 for record in times)


def slowdown(reference: Milliseconds, candidate: Milliseconds) -> float:
    """How many times the reference's time the candidate surely takes: its quick quarter over the other's slow quarter.

    A busy machine then makes nobody slow: it widens the quarters.
    """
    return float(np.percentile(candidate, 25) / np.percentile(reference, 75))
