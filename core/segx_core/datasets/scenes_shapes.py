"""Outlines of the generated world: which points lie inside a shape.

Every shape fits the unit disc around the origin. Knows nothing of pictures, colours or classes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Inside = NDArray[np.bool_]

TENT = ((0.0, -0.9), (0.95, 0.75), (-0.95, 0.75))
STAR = tuple(
    (math.sin(step * math.pi / 5) * reach, -math.cos(step * math.pi / 5) * reach)
    for step, reach in enumerate((1.0, 0.46) * 5)
)
"""Corners in order, x to the right, y down."""

RING_HOLE = 0.55
"""Inner radius of the ring over its outer radius."""


def inside(shape: str, u: Plane, v: Plane) -> Inside:
    """Whether the points `u`, `v` of the outline's own frame lie in a balloon, ring, star or tent."""
    match shape:
        case "balloon":
            return u * u + v * v <= np.float32(0.9 * 0.9)
        case "ring":
            squared = u * u + v * v
            return (squared <= 1) & (squared >= np.float32(RING_HOLE * RING_HOLE))
        case "star":
            return polygon(STAR, u, v)
        case "tent":
            return polygon(TENT, u, v)
        case _:
            raise AssertionError(shape)


def facets(u: Plane, v: Plane) -> Inside:
    """The alternate ones of the ten facets that lines through the star's centre and its points cut it into."""
    dark: Inside = np.zeros(np.broadcast_shapes(u.shape, v.shape), np.bool_)
    for x, y in STAR[::2]:
        dark ^= u * np.float32(y) > v * np.float32(x)
    return dark


def polygon(corners: tuple[tuple[float, float], ...], u: Plane, v: Plane) -> Inside:
    """Even-odd rule: whether the points `u`, `v` lie inside the polygon, which need not be convex."""
    within: Inside = np.zeros(np.broadcast_shapes(u.shape, v.shape), np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if y0 == y1:
            continue
        spans = (np.float32(y0) > v) != (np.float32(y1) > v)
        crossing = np.float32(x0) + (v - np.float32(y0)) * np.float32((x1 - x0) / (y1 - y0))
        within ^= spans & (u < crossing)
    return within


def segment(x0: float, y0: float, x1: float, y1: float, width: float, x: Plane, y: Plane) -> Inside:
    """Whether the points `x`, `y` lie within `width` / 2 of the straight line from (x0, y0) to (x1, y1)."""
    dx, dy = x1 - x0, y1 - y0
    length = dx * dx + dy * dy
    along = np.clip(
        ((x - np.float32(x0)) * np.float32(dx) + (y - np.float32(y0)) * np.float32(dy)) / np.float32(length), 0, 1
    )
    off_x = x - np.float32(x0) - along * np.float32(dx)
    off_y = y - np.float32(y0) - along * np.float32(dy)
    return off_x * off_x + off_y * off_y <= np.float32(width * width / 4)


def sagging(x0: float, y0: float, x1: float, y1: float, sag: float, width: float, x: Plane, y: Plane) -> Inside:
    """Whether the points lie on a cable hung from (x0, y0) to (x1, y1), `sag` pixels lower in its middle than taut."""
    along = (x - np.float32(x0)) / np.float32(x1 - x0)
    middle = np.float32(y0) + along * np.float32(y1 - y0) + np.float32(4 * sag) * along * (1 - along)
    slope = np.float32((y1 - y0) / (x1 - x0)) + np.float32(4 * sag / (x1 - x0)) * (1 - 2 * along)
    reach = np.sqrt(1 + slope * slope) * np.float32(width / 2)  # keeps the thickness on slopes
    hung: Inside = (along >= 0) & (along <= 1) & (np.abs(y - middle) <= reach)
    return hung
