"""Every score that one confusion matrix gives. Counting and most scores are core's, shared with training and export.

All functions take an int64 matrix with rows = target, (K, K) or of a multilabel model (K, 2, 2), and give fractions as
float64. A class that is in neither target nor prediction has no score (NaN) and no part in any mean. Knows nothing of
files, models or pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segx_core.confusion import confusion, iou, mean_present, miou
from segx_core.scores import class_accuracy, dice, fwiou, mean_accuracy, mean_dice, pixel_accuracy

__all__ = [
    "class_accuracy",
    "confusion",
    "dice",
    "fwiou",
    "iou",
    "kappa",
    "mean_accuracy",
    "mean_dice",
    "miou",
    "pixel_accuracy",
]


def kappa(matrix: NDArray[np.int64]) -> float:
    """Cohen's kappa, agreement beyond chance (Cohen 1960); NaN where nothing was counted or chance explains it all.

    Multilabel: the mean over the classes that have one.
    """
    if matrix.ndim == 3:
        return mean_present(np.array([kappa(one) for one in matrix]))
    total = int(matrix.sum())
    if not total:
        return float("nan")
    share = matrix / total
    chance = float(share.sum(axis=0) @ share.sum(axis=1))
    return float((np.trace(share) - chance) / (1 - chance)) if chance < 1 else float("nan")
