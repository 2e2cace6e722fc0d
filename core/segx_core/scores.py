"""Further scores of a confusion matrix: accuracies, Dice, frequency-weighted IoU. IoU itself is in confusion.py.

All take a matrix as `confusion.tallies` does, rows = target, and return fractions in 0..1 as float64; NaN means "not
defined here".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segx_core.confusion import iou, mean_present, ratio, tallies


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Share of counted pixels that are right; NaN where nothing was counted. Multilabel: of all pixels' decisions."""
    total = int(matrix.sum())
    right = int(np.trace(matrix, axis1=-2, axis2=-1).sum())
    return right / total if total else float("nan")


def class_accuracy(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) recall of each class, NaN for a class absent from the target."""
    hits, there, _ = tallies(matrix)
    return ratio(hits, there)


def mean_accuracy(matrix: NDArray[np.int64]) -> float:
    """Mean recall over the classes present in the target (also called balanced accuracy)."""
    return mean_present(class_accuracy(matrix))


def dice(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) Dice coefficient (F1) of each class, NaN for a class absent from both target and prediction."""
    hits, there, found = tallies(matrix)
    return ratio(2 * hits, there + found)


def mean_dice(matrix: NDArray[np.int64]) -> float:
    """Mean Dice over the classes present in target or prediction."""
    return mean_present(dice(matrix))


def fwiou(matrix: NDArray[np.int64]) -> float:
    """IoU weighted by how often each class stands in the target (Long et al., 2015); NaN where nothing was counted."""
    _, frequency, _ = tallies(matrix)
    total = int(frequency.sum())
    if not total:
        return float("nan")
    present = frequency > 0
    return float((frequency[present] * iou(matrix)[present]).sum() / total)
