"""One COCO annotation to the pixels it covers: polygons, runs as a list or as a string. Knows no files, no classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segx_core import rle
from segx_core.errors import DataError

Bools = NDArray[np.bool_]


def covered(segmentation: Any, size: tuple[int, int]) -> Bools:
    """The pixels of an annotation's "segmentation".

    Args:
        segmentation: a list of polygons [x0, y0, x1, y1, ...], together one object, or {"size", "counts"} with the runs
            as a list (as COCO marks crowds) or as its compressed string.
        size: (H, W) of the picture.

    Returns:
        (H, W) bool.

    Raises:
        DataError: none of these, a polygon of fewer than 3 points, or runs of another size.
    """
    if isinstance(segmentation, list):
        inside = np.zeros(size, np.bool_)
        for polygon in segmentation:
            inside |= fill(_points(polygon), size)
        return inside
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise DataError("a list of polygons, or size and counts, as a segmentation", _short(segmentation))
    if list(segmentation["size"]) != list(size):
        raise DataError(f"runs for a picture of {size[0]}x{size[1]} (height x width)", f"size {segmentation['size']}")
    counts = segmentation["counts"]
    if isinstance(counts, str):
        return rle.decode({"size": list(size), "counts": counts})
    return _from_runs(counts, size)


def fill(points: NDArray[np.float64], size: tuple[int, int]) -> Bools:
    """The pixels whose centre is inside a polygon, by the even-odd rule.

    COCO counts from the corner of the first pixel, whose centre is at (0.5, 0.5): a square from 0 to 4 has 16 pixels.

    Args:
        points: (V, 2) x and y.
        size: (H, W).
    """
    height, width = size
    x, y = points.T
    x_next, y_next = np.roll(points, -1, axis=0).T
    first = int(np.clip(np.floor(y.min()), 0, height))
    last = int(np.clip(np.ceil(y.max()), first, height))
    centres = np.arange(first, last) + 0.5
    edges, rows = np.nonzero((y[:, None] <= centres) != (y_next[:, None] <= centres))
    slope = (x_next - x)[edges] / (y_next - y)[edges]
    crossings = x[edges] + (centres[rows] - y[edges]) * slope
    columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)
    # Left to right a row is outside until its first crossing, inside until the second, and so on.
    toggles = np.zeros((last - first, width + 1), np.int64)
    np.add.at(toggles, (rows, columns), 1)
    inside = np.zeros(size, np.bool_)
    inside[first:last] = np.cumsum(toggles, axis=1)[:, :width] % 2 == 1
    return inside


def _points(polygon: Any) -> NDArray[np.float64]:
    try:
        points = np.asarray(polygon, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        points = np.zeros((0, 2))
    if len(points) < 3 or not np.isfinite(points).all():
        raise DataError("polygons [x0, y0, x1, y1, ...] of at least 3 points", _short(polygon))
    return points


def _from_runs(counts: Any, size: tuple[int, int]) -> Bools:
    try:
        runs = np.asarray(counts, np.int64)
        if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != size[0] * size[1]:
            raise ValueError
    except (TypeError, ValueError):
        raise DataError(f"runs that add up to {size[0]} x {size[1]} pixels", _short(counts)) from None
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(size[1], size[0]).T)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
