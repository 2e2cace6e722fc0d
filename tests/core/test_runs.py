from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segx_core import rle
from segx_core.runs import by_class

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7))


@settings(deadline=None)
@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16]), SHAPES, elements=st.sampled_from([0, 1, 2, 255])))
def test_each_class_has_its_area_box_and_run_lengths(labels: np.ndarray) -> None:
    found = by_class(labels)
    assert list(found) == np.unique(labels).tolist()
    for index, runs in found.items():
        mask = labels == index
        places = [(x, y) for y in range(mask.shape[0]) for x in range(mask.shape[1]) if mask[y, x]]
        left, top, width, height = runs.box
        assert (left, top) == (min(x for x, _ in places), min(y for _, y in places))
        assert (left + width - 1, top + height - 1) == (max(x for x, _ in places), max(y for _, y in places))
        assert runs.area == len(places)
        assert runs.rle() == rle.encode(mask)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_an_empty_map_has_no_classes(shape: tuple[int, int]) -> None:
    assert by_class(np.zeros(shape, np.uint8)) == {}


def test_no_runs_are_an_empty_mask() -> None:
    nothing = np.zeros(0, np.int64)
    assert rle.from_runs(nothing, nothing, (3, 4)) == rle.encode(np.zeros((3, 4), bool))
    assert rle.from_runs(nothing, nothing, (0, 4)) == rle.encode(np.zeros((0, 4), bool))
