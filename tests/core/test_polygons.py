from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segx_core.meaning import Indices
from segx_core.polygons import outlines, polygons


def redraw(shapes: list[dict], height: int, width: int) -> np.ndarray:
    """Class map from polygons by the rule in the docstring, each region on its own."""
    labels = np.full((height, width), 255, np.uint8)
    for shape in shapes:
        region = np.zeros((height, width), np.uint8)
        outside = np.array(shape["polygon"], np.int32)
        cv2.fillPoly(region, [outside], 1)
        for hole in shape["holes"]:
            ring = np.array(hole, np.int32)
            inside = np.zeros_like(region)
            cv2.fillPoly(inside, [ring], 1)
            border = np.zeros_like(region)
            cv2.polylines(border, [ring], True, 1)
            region[(inside == 1) & (border == 0)] = 0
        assert (labels[region == 1] == 255).all()
        labels[region == 1] = shape["index"]
    return labels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("block", [3, 8])
def test_polygons_give_back_every_pixel(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 3, (6, 7)), np.ones((block, block), int)).astype(np.uint8)
    shapes = polygons(labels, ("a", "b", "c"))
    np.testing.assert_array_equal(redraw(shapes, *labels.shape), labels)


def test_a_ring_has_its_hole_and_a_pixel_its_vertex() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 1
    labels[4, 4] = 2
    by_class = {shape["class"]: shape for shape in polygons(labels, ("sky", "ring", "dot"))}
    assert by_class["dot"] == {"class": "dot", "index": 2, "polygon": [[4, 4]], "holes": []}
    assert len(by_class["ring"]["holes"]) == 1
    assert len(by_class["sky"]["holes"]) == 1
    assert by_class["ring"]["polygon"] == [[2, 2], [2, 6], [6, 6], [6, 2]]


@settings(deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 2)))
def test_any_map_comes_back_from_its_polygons_and_borders_bound_them(labels: np.ndarray) -> None:
    shapes = polygons(labels, ("a", "b", "c"))
    np.testing.assert_array_equal(redraw(shapes, *labels.shape), labels)
    count = sum(
        labels[y, x] != labels[v, u]
        for y in range(labels.shape[0])
        for x in range(labels.shape[1])
        for v, u in ((y, x + 1), (y + 1, x))
        if v < labels.shape[0] and u < labels.shape[1]
    )
    assert Indices().borders(labels) == count
    assert outlines(labels == 3) == []
    vertices = sum(len(shape["polygon"]) + sum(map(len, shape["holes"])) for shape in shapes)
    # Each of at most two outlines at a border has a vertex there at most; four more are the picture's corners.
    assert vertices <= 4 * count + 4


def test_many_regions_do_not_take_the_square_of_their_number() -> None:
    # 40,000 rings: with a search of all outlines for each of them this would be minutes.
    ring = np.pad(np.zeros((1, 1), bool), 1, constant_values=True)
    mask = np.tile(np.pad(ring, ((0, 1), (0, 1))), (200, 200))
    shapes = outlines(mask)
    assert len(shapes) == 40_000
    assert all(len(shape["holes"]) == 1 for shape in shapes)
