"""How far each pixel lies from the edge of a region. Computed on the CPU, exactly, without gradient."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segx_core.cv import cv2


@torch.no_grad()
def signed_distances(inside: Tensor, valid: Tensor) -> Tensor:
    """Euclidean distance to the nearest valid pixel on the other side of the edge, in pixels; negative inside.

    Args:
        inside: (B, P, H, W) bool: P regions of each picture.
        valid: (B, H, W) bool: the pixels that are inside or outside; the others are neither, so no edge lies there.

    Returns:
        (B, P, H, W) float32 on the device of `inside`; 0 where not valid, and everywhere in a region that has no edge
        because it covers all of the valid pixels or none.
    """
    regions, counted = inside.cpu().numpy(), valid.cpu().numpy()
    result = np.zeros(regions.shape, np.float32)
    for picture, place in np.ndindex(regions.shape[:2]):
        result[picture, place] = _signed(regions[picture, place], counted[picture])
    return torch.from_numpy(result).to(inside.device)


def _signed(inside: NDArray[np.bool_], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    inside, outside = inside & valid, ~inside & valid
    if not (inside.any() and outside.any()):
        return np.zeros(inside.shape, np.float32)
    distance = np.where(outside, _to_nearest(inside), 0) - np.where(inside, _to_nearest(outside), 0)
    return distance.astype(np.float32)


def _to_nearest(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Of each pixel to the nearest one of a region that is not empty."""
    zeros = np.logical_not(region).astype(np.uint8)  # OpenCV measures to the nearest zero
    return np.asarray(cv2.distanceTransform(zeros, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
