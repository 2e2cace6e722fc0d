"""Further scores of a confusion matrix: accuracies, Dice, frequency-weighted IoU. IoU itself is in confusion.py.

All take a (K, K) int64 matrix, rows = target, and return fractions in 0..1 as float64; NaN means "not defined here".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segx_core.confusion import iou, mean_present, ratio


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Share of counted pixels that are right; NaN where nothing was counted."""
    total = int(matrix.sum())
    return float(int(np.trace(matrix)) / total) if total else float("nan")


def class_accuracy(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) recall of each class, NaN for a class absent from the target."""
    return ratio(np.diagonal(matrix), matrix.sum(axis=1))


def mean_accuracy(matrix: NDArray[np.int64]) -> float:
    """Mean recall over the classes present in the target (also called balanced accuracy)."""
    return mean_present(class_accuracy(matrix))


def dice(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) Dice coefficient (F1) of each class, NaN for a class absent from both target and prediction."""
    return ratio(2 * np.diagonal(matrix), matrix.sum(axis=1) + matrix.sum(axis=0))


def mean_dice(matrix: NDArray[np.int64]) -> float:
    """Mean Dice over the classes present in target or prediction."""
    return mean_present(dice(matrix))


def fwiou(matrix: NDArray[np.int64]) -> float:
    """IoU weighted by how often each class stands in the target (Long et al., 2015); NaN where nothing was counted."""
    frequency = matrix.sum(axis=1)
    total = int(frequency.sum())
    if not total:
        return float("nan")
    present = frequency > 0
    return float((frequency[present] * iou(matrix)[present]).sum() / total)
