"""How long one picture takes: the model alone, decode not counted, with nothing else running beside it.

A picture of a size not seen before is run once before it is timed: allocation and kernel choice belong to the start,
not to the steady state. Several models take turns on the same picture, in another order each time, so that whatever
disturbs the machine disturbs all of them alike. Knows nothing of data sets or scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segx_core.runner import UInt8

Predict = Callable[[UInt8], Any]


@dataclass(frozen=True)
class Latency:
    """Percentiles over pictures, in milliseconds."""

    p50: float
    p95: float
    p99: float
    pictures: int
    """How many timed runs stand behind them."""


def summarise(seconds: Sequence[float]) -> Latency:
    """Percentiles of at least one run time; linear between neighbours, as NumPy's default."""
    p50, p95, p99 = (float(value) for value in np.percentile(np.asarray(seconds) * 1000, [50, 95, 99]))
    return Latency(p50, p95, p99, len(seconds))


def turns(count: int, round_: int) -> list[int]:
    """The order in which `count` models run in this round: each round another one begins."""
    return [(round_ + step) % count for step in range(count)]


def measure(models: Sequence[Predict], pictures: Iterable[UInt8]) -> list[list[float]]:
    """Time every model on every picture.

    Args:
        models: each maps (H, W, 3) uint8 to something.
        pictures: (H, W, 3) uint8; drawn one at a time, so nothing is decoded while a model runs.

    Returns:
        For each model its run times in seconds, one a picture.
    """
    seconds: list[list[float]] = [[] for _ in models]
    warm: set[tuple[int, ...]] = set()
    for round_, picture in enumerate(pictures):
        cold = picture.shape not in warm
        warm.add(picture.shape)
        for index in turns(len(models), round_):
            if cold:
                models[index](picture)
            start = time.perf_counter()
            models[index](picture)
            seconds[index].append(time.perf_counter() - start)
    return seconds
