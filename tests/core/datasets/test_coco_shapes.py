from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_core import rle
from segx_core.datasets.coco_shapes import covered, fill
from segx_core.errors import DataError


def naive(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crossings of a ray to the left, pixel by pixel."""
    out = np.zeros(size, bool)
    for row, column in np.ndindex(size):
        x, y = column + 0.5, row + 0.5
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if (y0 <= y) != (y1 <= y):
                out[row, column] ^= x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x
    return out


@given(st.lists(st.tuples(st.integers(-3, 13), st.integers(-3, 11)), min_size=3, max_size=7))
@settings(max_examples=60)
def test_filled_is_inside(points):
    polygon = np.array(points, float) * 0.9 + 0.013  # off the pixels' centres, where rounding decides
    np.testing.assert_array_equal(fill(polygon, (8, 10)), naive(polygon, (8, 10)))


def test_a_square_has_its_area():
    inside = covered([[1, 2, 5, 2, 5, 6, 1, 6]], (8, 9))
    assert inside.sum() == 16
    assert inside[2:6, 1:5].all()


def test_polygons_of_one_object_are_united():
    left, right = [0, 0, 4, 0, 4, 4, 0, 4], [2, 0, 6, 0, 6, 4, 2, 4]
    assert covered([left, right], (4, 8)).sum() == 24


@given(st.integers(0, 2**24 - 1))
@settings(max_examples=40)
def test_runs_of_both_forms(bits):
    mask = np.array([(bits >> index) & 1 for index in range(24)], bool).reshape(4, 6)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [24]])).tolist()
    counts = [0, *runs] if flat[0] else runs
    np.testing.assert_array_equal(covered({"size": [4, 6], "counts": counts}, (4, 6)), mask)
    np.testing.assert_array_equal(covered(dict(rle.encode(mask)), (4, 6)), mask)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[0, 0, 1, 1]], [[0, 0, 1, 1, 2]], [["a", 0, 1, 1, 2, 2]], "text", {"size": [4, 6]},
        [[0, 0, 1, float("nan"), 2, 2]],
        {"size": [6, 4], "counts": [24]}, {"size": [4, 6], "counts": [23]}, {"size": [4, 6], "counts": [25, -1]},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(segmentation):
    with pytest.raises(DataError):
        covered(segmentation, (4, 6))
