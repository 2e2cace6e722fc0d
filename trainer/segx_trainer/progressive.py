"""Crops that grow while a run goes on: cheap steps first, full size for the rest. A pure function of the step.

Small pictures cost a fraction of the time and teach most of what there is to learn early on (Tan & Le 2021,
arXiv:2104.00298). Zoom shrinks with the crop, so that a small crop shows as much of the picture as a full one. Knows
nothing of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

_STRIDE = 32  # of the encoders: other sizes would be padded, and the padding computed


@dataclass(frozen=True)
class Growth:
    """Which crop size belongs to which update."""

    size: tuple[int, int]
    """(height, width) of full crops, in pixels."""
    total: int
    """Updates of the run."""
    start: float = 1.0
    """Share of the full sides that crops begin with."""
    full_at: float = 1.0
    """Share of all updates from which crops are full."""

    def at(self, step: int) -> tuple[int, int]:
        """(height, width) of the crops of the update numbered `step`, from 0."""
        share = self.start + (1 - self.start) * min(1.0, step / (self.full_at * self.total))
        if share >= 1:
            return self.size
        return self._side(0, share), self._side(1, share)

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Every size the run sees, growing."""
        return tuple(dict.fromkeys(self.at(step) for step in range(self.total))) if self.start < 1 else (self.size,)

    def pixels(self) -> list[int]:
        """Pixels of one crop, added up over the updates so far: [0] is 0 and [total] all of the run."""
        return [0, *accumulate(height * width for height, width in map(self.at, range(self.total)))]

    def zoom(self, size: tuple[int, int]) -> float:
        """Factor on the zoom of crops of `size`: the mean of both sides' shares, which rounding sets apart."""
        return float(((size[0] / self.size[0]) * (size[1] / self.size[1])) ** 0.5)

    def _side(self, axis: int, share: float) -> int:
        full = self.size[axis]
        return min(full, max(_STRIDE, round(share * full / _STRIDE) * _STRIDE))
