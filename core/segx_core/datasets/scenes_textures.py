"""Textures of the generated world: a value in [0, 1] for every point, mixed later between two colours.

Every family is stretched to the same spread, so that painted with the same two colours the families have (nearly) the
same colour histogram: only the arrangement tells them apart. Knows nothing of classes, colours or pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Texture:
    """One texture, completely described: the same values paint the same pattern at any resolution."""

    family: str
    """A key of `FAMILIES`."""
    period: float
    """Distance between repeats, in pixels of the scene."""
    angle: float
    """Direction, in radians."""
    phase: tuple[float, float]
    """Shift of the pattern, in pixels of the scene."""
    sharpness: float
    """Contrast of the edges: 1 is a soft wave, 4 is nearly two flat tones."""
    seed: int
    """Seed of the families that draw from random lattices."""


def paint(texture: Texture, x: Plane, y: Plane) -> Plane:
    """Values in [0, 1] of `texture` at the points `x`, `y` (broadcast together, in pixels of the scene)."""
    x, y = np.broadcast_arrays(x, y)
    cos, sin = np.float32(np.cos(texture.angle)), np.float32(np.sin(texture.angle))
    shift_x, shift_y = np.float32(texture.phase[0]), np.float32(texture.phase[1])
    scale = np.float32(1.0 / texture.period)
    u = ((x + shift_x) * cos + (y + shift_y) * sin) * scale
    v = ((y + shift_y) * cos - (x + shift_x) * sin) * scale
    pattern = FAMILIES[texture.family](u, v, texture.seed)  # about [-1, 1]
    value: Plane = np.clip(pattern * np.float32(0.5 * texture.sharpness) + np.float32(0.5), 0, 1)
    return value


def value_noise(u: Plane, v: Plane, seed: int) -> Plane:
    """Smooth random field in [-1, 1] with one knot per unit, repeating after 64 units."""
    knots = np.random.default_rng(seed).random((64, 64), dtype=np.float32) * 2 - 1
    left, top = np.floor(u), np.floor(v)
    fx, fy = u - left, v - top
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    i, j = left.astype(np.int64) & 63, top.astype(np.int64) & 63
    i1, j1 = (i + 1) & 63, (j + 1) & 63
    upper = knots[j, i] * (1 - fx) + knots[j, i1] * fx
    lower = knots[j1, i] * (1 - fx) + knots[j1, i1] * fx
    field: Plane = upper * (1 - fy) + lower * fy
    return field


def wave(turns: Plane) -> Plane:
    """A sine of unit period to within 0.001, from sums and products only: the same bits on every machine."""
    x = turns - np.floor(turns + np.float32(0.5))  # [-0.5, 0.5)
    arc = x * (8 - 16 * np.abs(x))
    sine: Plane = arc + (arc * np.abs(arc) - arc) * np.float32(0.225)
    return sine


def _blotches(u: Plane, v: Plane, seed: int) -> Plane:
    return value_noise(u * 2, v * 2, seed) * np.float32(1.6)


def _ridges(u: Plane, v: Plane, seed: int) -> Plane:
    field: Plane = (
        np.abs(value_noise(u * np.float32(1.3), v * np.float32(1.3), seed)) - np.float32(0.28)
    ) * np.float32(3)
    return field


def _tufts(u: Plane, v: Plane, seed: int) -> Plane:
    return value_noise(u * np.float32(3.2), v * np.float32(1.6), seed) * np.float32(1.6)


def _stripes(u: Plane, v: Plane, seed: int) -> Plane:
    return wave(u) * np.float32(1.1)


def _bent_stripes(u: Plane, v: Plane, seed: int) -> Plane:
    return wave(u + value_noise(u * np.float32(0.3), v * np.float32(0.3), seed) * np.float32(0.35)) * np.float32(1.1)


def _zigzag(u: Plane, v: Plane, seed: int) -> Plane:
    across = v * np.float32(0.35)
    corner: Plane = np.abs(across - np.floor(across) - np.float32(0.5)) * np.float32(1.6)
    return wave(u + corner) * np.float32(1.1)


def _double_stripes(u: Plane, v: Plane, seed: int) -> Plane:
    return (wave(u) + wave(u * np.float32(0.5) + np.float32(0.2)) * np.float32(0.6)) * np.float32(1.1)


def _dots(u: Plane, v: Plane, seed: int) -> Plane:
    return wave(u) * wave(v) * np.float32(1.9)


def _honeycomb(u: Plane, v: Plane, seed: int) -> Plane:
    across, half = u * np.float32(0.866), v * np.float32(0.5)
    return (wave(v) + wave(across + half) + wave(across - half)) * np.float32(0.9)


def _bricks(u: Plane, v: Plane, seed: int) -> Plane:
    row: Plane = np.floor(v)
    along = u * np.float32(0.7) + row * np.float32(0.5)
    joint = np.minimum(np.abs(wave(along * np.float32(0.5))), np.abs(wave(v * np.float32(0.5))))
    return (joint - np.float32(0.5)) * np.float32(1.5)


FAMILIES: dict[str, Callable[[Plane, Plane, int], Plane]] = {
    "blotches": _blotches,
    "tufts": _tufts,
    "ridges": _ridges,
    "stripes": _stripes,
    "bent stripes": _bent_stripes,
    "zigzag": _zigzag,
    "double stripes": _double_stripes,
    "dots": _dots,
    "honeycomb": _honeycomb,
    "bricks": _bricks,
}
"""Name -> pattern of unit period around zero."""
