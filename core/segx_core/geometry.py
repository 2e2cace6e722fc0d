"""Brings pictures to the one size a fixed-size model takes, and what comes out of it back to the picture's size.

Files that segx exports take any size and need none of this. A plain resize on both sides, no letterbox: a segmentation
network trained at a fixed size has nearly always seen squeezed pictures, bars of padding it has not; the network's
whole field of view is used; and the way back is one resize. Knows nothing of models, only arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segx_core.cv import cv2
from segx_core.runner import ClassMap, Tensor, UInt8

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Fit:
    """What was done to a picture, enough to undo it."""

    height: int
    """Rows of the picture before."""
    width: int
    """Columns of the picture before."""


def fit(picture: UInt8, height: int, width: int) -> tuple[UInt8, Fit]:
    """Resizes a picture: averaging where both sides shrink (bilinear would skip pixels), bilinear otherwise.

    Args:
        picture: (H, W, 3) uint8.
        height: rows wanted.
        width: columns wanted.

    Returns:
        (height, width, 3) uint8 and how to get back; the picture itself where it has the size already.
    """
    before = Fit(*picture.shape[:2])
    if (before.height, before.width) == (height, width):
        return picture, before
    shrinks = height <= before.height and width <= before.width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(picture, (width, height), interpolation=method)
    return np.asarray(resized, dtype=np.uint8), before


def unfit(classmap: ClassMap, fit: Fit) -> ClassMap:
    """(h, w) class indices of the fitted picture -> (fit.height, fit.width), nearest: no class is invented."""
    return nearest(classmap, fit.height, fit.width)


def unfit_scores(scores: Float32, fit: Fit) -> Float32:
    """(K, h, w) float32 logits or probabilities -> (K, fit.height, fit.width), bilinear."""
    return bilinear(scores, fit.height, fit.width)


def nearest(classmap: ClassMap, height: int, width: int) -> ClassMap:
    """(h, w) class indices -> (height, width): each pixel takes the one its centre falls into."""
    if classmap.shape == (height, width):
        return classmap
    # floor((2 i + 1) h / (2 H)) in whole numbers. OpenCV's nearest takes the corner: a shift of half a pixel.
    rows = (2 * np.arange(height) + 1) * classmap.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * classmap.shape[1] // (2 * width)
    # Columns first, of the few rows there are: whole rows are then copied.
    taken: ClassMap = classmap.take(columns, axis=1).take(rows, axis=0)
    return taken


def bilinear(scores: Float32, height: int, width: int) -> Float32:
    """(K, h, w) -> (K, height, width): bilinear, corners not aligned (PyTorch's default), edges replicated."""
    if scores.shape[1:] == (height, width):
        return scores
    return np.stack([bilinear_plane(plane, height, width) for plane in scores])


def bilinear_plane(plane: Float32, height: int, width: int) -> Float32:
    """One (h, w) float32 plane of `bilinear`."""
    if plane.shape == (height, width):
        return plane
    resized = cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


def pad(batch: Tensor, multiple: int) -> Tensor:
    """(N, H, W, C) -> H and W rounded up to multiples, the edge replicated below and to the right."""
    below, right = -batch.shape[1] % multiple, -batch.shape[2] % multiple
    if not below and not right:
        return batch
    return np.pad(batch, ((0, 0), (0, below), (0, right), (0, 0)), mode="edge")
