"""What one visit to one sample gives every step of augmentation: its random numbers and the other pictures.

A step is a callable (image, mask, draw) -> (image, mask). Steps change nothing that they are given: the pictures they
get are the cache's own. Knows no step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

Pair = tuple[Tensor, Tensor]
"""(3, H, W) uint8 and (H, W) int64: class indices or bit fields."""


class Pool(Protocol):
    """The training pictures, unaugmented: what `loading.Pictures` is. A list of pairs will do."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Pair: ...


class Transform(Protocol):
    """One step."""

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw, /) -> Pair:
        """(3, H, W) uint8 and (H, W) int64 -> the same kinds, perhaps of another size."""
        ...


@dataclass(frozen=True)
class Draw:
    """The random side of one visit."""

    rng: np.random.Generator
    pool: Pool
    """Where partners of mixes are taken from."""
    focus: tuple[int, int] | None = None
    """(row, column) of a pixel that the window must hold."""

    def chance(self, probability: float) -> bool:
        """True with that probability. One number is drawn in any case, so that later draws do not depend on it."""
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        """Uniform."""
        return float(self.rng.uniform(low, high))

    def factor(self, low: float, high: float) -> float:
        """Log-uniform: a zoom of 1/2 is as likely as one of 2."""
        return float(low * (high / low) ** self.rng.random())

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def partner(self, steps: Sequence[Transform]) -> Pair:
        """Another training picture, or by chance the same, after `steps` of its own."""
        image, mask = self.pool[self.whole(0, len(self.pool) - 1)]
        return run(steps, image, mask, Draw(self.rng, self.pool))


@dataclass(frozen=True)
class Sometimes:
    """A step that is done with probability `p`."""

    p: float
    step: Transform

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw) -> Pair:
        """Draw once, then do the step or nothing."""
        return self.step(image, mask, draw) if draw.chance(self.p) else (image, mask)


def run(steps: Sequence[Transform], image: Tensor, mask: Tensor, draw: Draw) -> Pair:
    """All steps in order."""
    for step in steps:
        image, mask = step(image, mask, draw)
    return image, mask
