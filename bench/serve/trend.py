"""How fast a series grows, with outliers and steps of the allocator kept from deciding it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes of all pairs (Theil 1950, Sen 1968); 0 for fewer than two points."""
    pairs = itertools.combinations(points, 2)
    slopes = [(after - before) / (later - earlier) for (earlier, before), (later, after) in pairs if later != earlier]
    return statistics.median(slopes) if slopes else 0.0


def growth(points: Sequence[tuple[float, float]]) -> float:
    """The slope times the length of the series, in the unit of its values."""
    return slope(points) * (points[-1][0] - points[0][0]) if points else 0.0
