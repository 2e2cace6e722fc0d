"""How far a model's probabilities can be believed: expected calibration error and Brier score, pixel by pixel.

ECE is that of the most probable class in equal-width bins (Naeini et al. 2015, Guo et al. 2017), each bin weighted by
its pixels. Brier is the sum over classes of the squared difference to the one-hot target (Brier 1950), so 0 to 2.
Ignored pixels count nowhere. Of a multilabel model every class of a pixel is a choice of its own between two. Knows
nothing of models: it is fed probabilities, one picture after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Equal-width confidence bins, the usual number."""

_ROWS = 1 << 16  # pixels handled at once, so that float64 copies stay small whatever the picture's size


class Calibration:
    """Sums over the pixels seen so far. `count`, `confidence` and `correct` per bin make a reliability diagram."""

    def __init__(self, bins: int = BINS) -> None:
        self.count = np.zeros(bins, np.int64)
        """(bins,) pixels."""
        self.confidence = np.zeros(bins)
        """(bins,) sum of the top probability."""
        self.correct = np.zeros(bins, np.int64)
        """(bins,) pixels whose most probable class is the target."""
        self._squares = 0.0

    def add(self, probabilities: NDArray[np.floating[Any]], target: NDArray[Any], ignore_index: int) -> None:
        """Count one picture.

        Args:
            probabilities: (K, ...) float, summing to 1 over K.
            target: (...) integers in [0, K) or `ignore_index`.
            ignore_index: the target's label for pixels that do not count.
        """
        labels = target.reshape(-1)
        columns = probabilities.reshape(probabilities.shape[0], -1)
        for start in range(0, labels.size, _ROWS):
            chosen = start + np.flatnonzero(labels[start : start + _ROWS] != ignore_index)
            if chosen.size:
                self._add(columns[:, chosen].astype(np.float64), labels[chosen].astype(np.intp))

    def _add(self, p: NDArray[np.float64], y: NDArray[np.intp]) -> None:  # (K, n) and (n,)
        top = p.max(axis=0)
        hit = p.argmax(axis=0) == y
        bins = len(self.count)
        # A bin takes its upper end: (0, 1/15], (1/15, 2/15], ...
        place = np.clip(np.ceil(top * bins).astype(np.intp) - 1, 0, bins - 1)
        self.count += np.bincount(place, minlength=bins)
        self.confidence += np.bincount(place, weights=top, minlength=bins)
        self.correct += np.bincount(place[hit], minlength=bins)
        # sum_c (p_c - e_c)^2 = sum_c p_c^2 - 2 p_y + 1
        self._squares += float((p * p).sum() - 2 * p[y, np.arange(y.size)].sum() + y.size)

    def ece(self) -> float:
        """Expected calibration error in 0..1; NaN where nothing was counted."""
        total = int(self.count.sum())
        return float(np.abs(self.confidence - self.correct).sum() / total) if total else float("nan")

    def brier(self) -> float:
        """Mean Brier score in 0..2; NaN where nothing was counted."""
        total = int(self.count.sum())
        return self._squares / total if total else float("nan")
