from __future__ import annotations

import math

import numpy as np
import pytest

from segx_core.datasets import scenes_shapes as shapes
from segx_core.datasets.scenes_world import THINGS


def grid(points: int) -> tuple[np.ndarray, np.ndarray, float]:
    line = ((np.arange(points) + 0.5) / points * 2.4 - 1.2).astype(np.float32)
    return line[None, :], line[:, None], (2.4 / points) ** 2


def shoelace(corners: tuple[tuple[float, float], ...]) -> float:
    following = corners[1:] + corners[:1]
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(corners, following, strict=True))) / 2


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("balloon", math.pi * 0.81),
        ("ring", math.pi * (1 - shapes.RING_HOLE**2)),
        ("star", shoelace(shapes.STAR)),
        ("tent", shoelace(shapes.TENT)),
    ],
)
def test_areas_are_those_of_geometry(shape: str, area: float) -> None:
    u, v, cell = grid(800)
    assert shapes.inside(shape, u, v).sum() * cell == pytest.approx(area, rel=0.005)


@pytest.mark.parametrize("shape", THINGS)
def test_shapes_stay_within_the_unit_disc_or_its_box(shape: str) -> None:
    u, v, _ = grid(400)
    beyond = u * u + v * v > 1.25**2
    assert not (shapes.inside(shape, u, v) & beyond).any()


def test_polygon_agrees_with_half_planes() -> None:
    u, v, _ = grid(201)
    expected = np.ones((201, 201), bool)
    for (x0, y0), (x1, y1) in zip(shapes.TENT, shapes.TENT[1:] + shapes.TENT[:1], strict=True):
        expected &= (x1 - x0) * (v - y0) - (y1 - y0) * (u - x0) > 0  # corners run clockwise, y down
    np.testing.assert_array_equal(shapes.polygon(shapes.TENT, u, v), expected)


def test_segment_has_its_width_and_round_ends() -> None:
    x, y = np.arange(0.01, 20, 0.05, dtype=np.float32)[None, :], np.arange(0.01, 10, 0.05, dtype=np.float32)[:, None]
    inside = shapes.segment(5, 5, 15, 5, 2, x, y)
    assert inside.sum() * 0.05**2 == pytest.approx(10 * 2 + math.pi, rel=0.01)


def test_cable_hangs_between_its_ends() -> None:
    x, y = np.arange(0, 20, 0.05, dtype=np.float32)[None, :], np.arange(0, 12, 0.05, dtype=np.float32)[:, None]
    inside = shapes.sagging(2, 3, 18, 5, 4, 0.4, x, y)
    assert not inside[:, : int(1.9 / 0.05)].any()
    middle = (inside * y)[:, 200].sum() / inside[:, 200].sum()
    assert middle == pytest.approx(4 + 4, abs=0.06)  # halfway between the ends, and the sag


def test_an_unknown_shape_is_our_own_bug() -> None:
    u, v, _ = grid(4)
    with pytest.raises(AssertionError, match="cube"):
        shapes.inside("cube", u, v)


def test_the_facets_of_the_star_alternate_around_it() -> None:
    angles = np.deg2rad(np.arange(0, 360, 36) + 18)
    u, v = (np.sin(angles) * 0.3).astype(np.float32), (-np.cos(angles) * 0.3).astype(np.float32)
    found = shapes.facets(u, v)
    assert (found == np.roll(~found, 1)).all()
