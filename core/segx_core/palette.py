"""Colours for classes that bring none: any number, all different, the same on every machine.

It knows nothing of masks; which colours a data set declares is the data set's business.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segx_core.errors import ConfigError

_LEVELS = (0, 32, 64, 96, 128, 160, 192, 224, 255)
_LIGHTNESS = (30.0, 92.0)  # CIELAB L*: darker or lighter colours vanish in pictures and on white pages


def default_palette(n: int) -> tuple[tuple[int, int, int], ...]:
    """Give `n` different RGB colours, each 0-255.

    The first few hundred are picked one by one as far as possible (CIELAB distance) from all before, so that
    `default_palette(n)` begins with `default_palette(n - 1)`; later ones are only guaranteed to differ.

    Raises:
        ConfigError: `n` is negative or more than the 2^24 colours there are.
    """
    if not 0 <= n <= 1 << 24:
        raise ConfigError("a number of colours from 0 to 16777216", str(n))
    colors = _spread(n)
    used = set(colors)
    step = 0
    while len(colors) < n:
        step += 1
        # An odd factor makes this a permutation of all 2^24 colours, so the loop ends and repeats nothing.
        code = (step * 0x9E3779B1) & 0xFFFFFF
        color = (code >> 16, (code >> 8) & 255, code & 255)
        if color not in used:
            used.add(color)
            colors.append(color)
    return tuple(colors)


def _spread(n: int) -> list[tuple[int, int, int]]:
    """Greedy farthest-point choice among a grid of well visible colours."""
    grid = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), axis=-1).reshape(-1, 3)  # (729, 3) RGB
    lab = _to_lab(grid)
    visible = (lab[:, 0] >= _LIGHTNESS[0]) & (lab[:, 0] <= _LIGHTNESS[1])
    grid, lab = grid[visible], lab[visible]
    chosen: list[tuple[int, int, int]] = []
    distance = -np.hypot(lab[:, 1] - 10, lab[:, 2] + 60)  # the first: near a clear blue, whatever colour blindness
    for _ in range(min(n, len(grid))):
        best = int(np.argmax(distance))
        red, green, blue = (int(value) for value in grid[best])
        chosen.append((red, green, blue))
        to_best = np.linalg.norm(lab - lab[best], axis=1)
        distance = to_best if len(chosen) == 1 else np.minimum(distance, to_best)
    return chosen


def _to_lab(rgb: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, 3) sRGB 0-255 -> (n, 3) CIELAB, D65."""
    value = rgb / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
