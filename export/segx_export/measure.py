"""Quality and speed of two files side by side: confusion matrices over pictures, interleaved medians of time.

It loads nothing and decides nothing: it takes runners, so a file, a service or a simulated device measures alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segx_core.confusion import miou
from segx_core.datasets import Dataset, Sample
from segx_core.meaning import meaning
from segx_core.progress import track
from segx_core.runner import Runner, UInt8


@dataclass(frozen=True)
class Quality:
    """How several runners did on the same pictures, in the runners' order."""

    images: int
    matrices: tuple[NDArray[np.int64], ...]
    """(K, K) int64 each, rows = target; (K, 2, 2) of multilabel data."""
    agreement: tuple[float, ...]
    """Share of pixels, ignored ones included, with the value of the first runner, 0-1."""

    @property
    def miou(self) -> tuple[float, ...]:
        """Mean IoU of each runner, a fraction; NaN where nothing was labelled."""
        return tuple(miou(matrix) for matrix in self.matrices)


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
    matrices = [reader.no_counts(classes) for _ in runners]
    same = [0 for _ in runners]
    pixels = 0
    for sample in track(samples, what, unit="pictures"):
        picture, target = dataset.read(sample)
        maps = [runner.run(picture[None])[0] for runner in runners]
        pixels += target.size
        for index, classmap in enumerate(maps):
            matrices[index] += reader.count(target, classmap, classes, dataset.ignore_index)
            same[index] += int((classmap == maps[0]).sum())
    return Quality(len(samples), tuple(matrices), tuple(count / pixels for count in same))


def latencies(runners: Sequence[Runner], picture: UInt8, seconds: float = 4.0) -> tuple[float, ...]:
    """Median milliseconds of one picture (H, W, 3) a runner, taken in turns so that all share the machine's moods.

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
    return tuple(float(np.median(record)) * 1e3 for record in times)
