"""Boundary F1: how well the outlines agree, which IoU of large regions hardly shows (Csurka et al., BMVC 2013).

For one picture and class, precision is the share of predicted boundary pixels that lie within the tolerance of a true
one, recall the share of true ones within the tolerance of a predicted one; F1 is their harmonic mean. A picture's score
is the mean over its classes, the data set's the mean over its pictures. The rules, all of them:

- Tolerance: 0.75 % of the picture's diagonal, at least 1 pixel, Euclidean between pixel centres.
- A boundary pixel of a class has that class and a 4-neighbour of another one. The picture's frame is no boundary.
- Ignored pixels are nobody's boundary and make none: next to one, only labelled neighbours count.
- A boundary pixel without a partner, but within the tolerance of an ignored pixel, is left out of its share: its
  partner may lie where nothing is labelled, so it is neither right nor wrong.
- A class with no boundary pixel on either side (absent, or filling the picture) has no score; one with a boundary on
  one side only scores 0, unless all of it was left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segx_core.confusion import ratio

FRACTION = 0.0075
"""Default tolerance as a fraction of the picture's diagonal."""

_NONE = np.int32(-1)  # in maps of boundary pixels: no boundary here

Labels = NDArray[Any]
Bools = NDArray[np.bool_]


def tolerance(height: int, width: int, fraction: float = FRACTION) -> float:
    """Tolerance in pixels for a picture of this size: a fraction of its diagonal, at least 1."""
    return max(1.0, fraction * math.hypot(height, width))


def edges(labels: Labels, valid: Bools) -> Bools:
    """Pixels with a 4-neighbour of another label, both of them valid.

    Args:
        labels: (H, W) integers.
        valid: (H, W) bool, False where the target is ignored.

    Returns:
        (H, W) bool; `edges(labels, valid) & (labels == c)` is the boundary of class c.
    """
    edge = np.zeros(labels.shape, np.bool_)
    for first, second in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        change = (labels[first] != labels[second]) & valid[first] & valid[second]
        edge[first] |= change
        edge[second] |= change
    return edge


def boundary_f1(
    target: Labels, prediction: Labels, num_classes: int, ignore_index: int, *, pixels: float | None = None
) -> NDArray[np.float64]:
    """Boundary F1 of every class in one picture.

    Args:
        target: (H, W) integers in [0, K) or `ignore_index`.
        prediction: (H, W) integers in [0, K).
        num_classes: K.
        ignore_index: the target's label for pixels that do not count.
        pixels: the tolerance in pixels; by default `tolerance(H, W)`.

    Returns:
        (K,) float64, NaN for a class without a score here.
    """
    within = tolerance(*target.shape) if pixels is None else pixels
    valid = target != ignore_index
    true, found = edges(target, valid), edges(prediction, valid)
    margin = math.floor(within)
    true_map, found_map = (
        np.pad(np.where(edge, labels.astype(np.int32), _NONE), margin, constant_values=_NONE)
        for edge, labels in ((true, target), (found, prediction))
    )
    ignored = np.pad(~valid, margin)
    steps = _disc(within) @ np.array([true_map.shape[1], 1])
    precision = _share(found_map, true_map, ignored, steps, num_classes)
    recall = _share(true_map, found_map, ignored, steps, num_classes)
    total = np.nan_to_num(precision) + np.nan_to_num(recall)
    f1 = ratio(2 * np.nan_to_num(precision) * np.nan_to_num(recall), np.where(total == 0, 1, total))
    f1[np.isnan(precision) & np.isnan(recall)] = np.nan
    return f1


def mean_boundary_f1(scores: NDArray[np.float64]) -> float:
    """Mean over classes in each picture, then over pictures.

    Args:
        scores: (P, K) rows of `boundary_f1`; NaN entries have no part, nor have pictures of NaN alone.
    """
    known = ~np.isnan(scores)
    counts = known.sum(axis=1)
    sums = np.where(known, scores, 0.0).sum(axis=1)
    scored = counts > 0
    return float((sums[scored] / counts[scored]).mean()) if scored.any() else float("nan")


def _disc(within: float) -> NDArray[np.intp]:
    """(n, 2) steps (rows, columns) to every pixel at most `within` away, nearest first."""
    reach = np.arange(-math.floor(within), math.floor(within) + 1)
    rows, columns = (axis.ravel() for axis in np.meshgrid(reach, reach, indexing="ij"))
    squared = rows * rows + columns * columns
    order = np.argsort(squared, kind="stable")
    return np.stack([rows, columns], axis=1)[order[squared[order] <= within * within + 1e-9]]


def _share(
    edge_map: NDArray[np.int32], other: NDArray[np.int32], ignored: Bools, steps: NDArray[np.intp], num_classes: int
) -> NDArray[np.float64]:
    """(K,) share of each class's boundary pixels with a partner, of those that have or should have one; NaN for none.

    The maps hold the class on boundary pixels and `_NONE` elsewhere, padded so that no step leaves them.
    """
    maps, others, blank = edge_map.ravel(), other.ravel(), ignored.ravel()
    alone = np.flatnonzero(maps != _NONE)
    all_pixels = np.bincount(maps[alone], minlength=num_classes)
    # Nearest steps first and only for those still alone: most find their partner within the first few.
    for step in steps:
        alone = alone[others[alone + step] != maps[alone]]
    right = all_pixels - np.bincount(maps[alone], minlength=num_classes)
    if blank.any():
        for step in steps:
            alone = alone[~blank[alone + step]]
    wrong = np.bincount(maps[alone], minlength=num_classes)
    return ratio(right, right + wrong)
