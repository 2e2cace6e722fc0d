"""The one confusion matrix of segx, and the IoU read from it. Everyone who counts pixels counts them here.

It knows class indices only: no names, no files, no pictures. Further scores of a matrix are in scores.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segx_core.errors import DataError

_CHUNK = 1 << 18  # pixels counted at once: int64 temporaries of 2 MiB stay in the cache whatever the map's size


def confusion(
    target: NDArray[Any], prediction: NDArray[Any], num_classes: int, ignore_index: int = 255
) -> NDArray[np.int64]:
    """Count how often each true class was predicted as each class.

    Args:
        target: (...) integers, true class indices; pixels equal to `ignore_index` are left out.
        prediction: (...) integers of the same shape; what stands on ignored pixels is not looked at.
        num_classes: K, at least 1.
        ignore_index: the target value that means "do not count", inside or outside 0..K-1.

    Returns:
        (K, K) int64, rows = target, columns = prediction. Matrices of several pictures add up.

    Raises:
        DataError: shapes differ, a dtype is not integer, or a counted value lies outside 0..K-1.
    """
    target, prediction = np.asarray(target), np.asarray(prediction)
    if num_classes < 1:
        raise DataError("at least one class", f"num_classes={num_classes}")
    if target.shape != prediction.shape:
        raise DataError(
            "a prediction of the target's shape",
            f"{prediction.shape} for a target of {target.shape}",
            "Resize the prediction to the label map, nearest neighbour.",
        )
    for name, array in (("target", target), ("prediction", prediction)):
        if array.dtype.kind not in "uib":
            raise DataError(
                f"integer class indices as {name}", f"dtype {array.dtype}", "Take the argmax of logits first."
            )
    flat_target, flat_prediction = target.reshape(-1), prediction.reshape(-1)
    cells = num_classes * num_classes
    counts = np.zeros(cells, dtype=np.int64)
    step = max(_CHUNK, cells)
    for start in range(0, flat_target.size, step):
        part, guess = flat_target[start : start + step], flat_prediction[start : start + step]
        counted = part != ignore_index
        if not counted.all():
            part, guess = part[counted], guess[counted]
        if not part.size:
            continue
        _check_range(part, num_classes, f"target values of 0..{num_classes - 1} or {ignore_index} (ignore)")
        _check_range(guess, num_classes, f"predicted values of 0..{num_classes - 1}")
        # int64 before the product: uint8 * K would wrap around.
        cell = part.astype(np.int64) * num_classes + guess.astype(np.int64)
        counts += np.bincount(cell, minlength=cells)
    return counts.reshape(num_classes, num_classes)


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class.

    Args:
        matrix: as `tallies` takes it.

    Returns:
        (K,) float64 in 0..1, NaN for a class that is in neither target nor prediction.
    """
    hits, there, found = tallies(matrix)
    return ratio(hits, there + found - hits)


def tallies(matrix: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each class the pixels that are right, those that are there and those that were found.

    Args:
        matrix: (K, K) int64, rows = target, or of a multilabel model (K, 2, 2) int64 (see bits.confusion).

    Returns:
        Three (K,) int64.
    """
    if matrix.ndim == 3:
        return matrix[:, 1, 1], matrix[:, 1].sum(axis=1), matrix[:, :, 1].sum(axis=1)
    return np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)


def miou(matrix: NDArray[np.int64]) -> float:
    """Mean IoU over the classes present in target or prediction; NaN where nothing was counted."""
    return mean_present(iou(matrix))


def target_miou(matrix: NDArray[np.int64]) -> float:
    """Mean IoU over the classes present in the target alone, NaN where there are none.

    To compare models on the same pixels: the classes are then the same for both, while a stray pixel of an absent class
    would otherwise add a class with IoU 0 to one of them.
    """
    _, there, _ = tallies(matrix)
    return mean_present(np.where(there > 0, iou(matrix), np.nan))


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """(K,) `part` / `whole` as float64, NaN (without a warning) where `whole` is 0."""
    out = np.full(np.shape(whole), np.nan, dtype=np.float64)
    np.divide(part, whole, out=out, where=np.asarray(whole) != 0)
    return out


def mean_present(values: NDArray[np.float64]) -> float:
    """Mean over the entries of (K,) `values` that are not NaN; NaN where there is none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _check_range(values: NDArray[Any], num_classes: int, expected: str) -> None:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise DataError(
            expected,
            f"{wrong} on {int((values == wrong).sum())} pixels",
            "Check that model and data set have the same classes and the same ignore index.",
        )
