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

from segx_core.cv import cv2

FRACTION = 0.0075
"""Default tolerance as a fraction of the picture's diagonal."""

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
    valid = target != ignore_index
    within = tolerance(*target.shape) if pixels is None else pixels
    true_edges, found_edges = edges(target, valid), edges(prediction, valid)
    doubtful = _near(~valid, within)
    scores = np.full(num_classes, np.nan)
    for index in np.union1d(target[true_edges], prediction[found_edges]).tolist():
        true, found = true_edges & (target == index), found_edges & (prediction == index)
        window = _window(true | found)
        scores[index] = _f1(true[window], found[window], doubtful[window], within)
    return scores


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


def _f1(true: Bools, found: Bools, doubtful: Bools, within: float) -> float:
    precision = _share(found, _near(true, within), doubtful)
    recall = _share(true, _near(found, within), doubtful)
    if math.isnan(precision) and math.isnan(recall):
        return math.nan
    if math.isnan(precision) or math.isnan(recall) or precision + recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def _share(pixels: Bools, near: Bools, doubtful: Bools) -> float:
    """Share of pixels with a partner, among those that have one or should have; NaN where nothing can be judged."""
    right = int((pixels & near).sum())
    wrong = int((pixels & ~near & ~doubtful).sum())
    return right / (right + wrong) if right + wrong else math.nan


def _near(pixels: Bools, within: float) -> Bools:
    """Where the nearest True pixel is at most `within` away. (H, W) bool -> (H, W) bool."""
    if not pixels.any():
        return np.zeros(pixels.shape, np.bool_)
    distance = cv2.distanceTransform((~pixels).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances are whole numbers: compare half-way between two, where float32 roots cannot err.
    return np.asarray(distance * distance < math.floor(within * within + 1e-9) + 0.5)


def _window(pixels: Bools) -> tuple[slice, slice]:
    """The smallest window that holds every True pixel: distances among them need nothing outside."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
