from __future__ import annotations

import dataclasses

import numpy as np

from segx_core.datasets.scenes_maker import describe
from segx_core.datasets.scenes_render import IGNORE, expose, render, settle
from segx_core.datasets.scenes_world import CLASSES, Camera, Scene, Thing

PLAIN = Camera(light=0.0, contrast=0.0, exposure=1.0, cast=(1.0, 1.0, 1.0), blur=0.0, noise=0.0, seed=1)


def scene_with(*things: Thing) -> Scene:
    base = describe(1, 0, "train", 48, 64)
    return dataclasses.replace(base, layers=(), powerlines=(), beacons=(), things=things, camera=PLAIN)


def thing(kind: str, depth: float, x: float, colour: tuple[float, float, float]) -> Thing:
    base = describe(1, 0, "train", 48, 64).things[0]
    return dataclasses.replace(
        base, kind=kind, depth=depth, x=x, y=24.0, radius=10.0, angle=0.0, finish="plain", first=colour, second=colour
    )


def test_settle_agrees_with_counting() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (60, 80)).astype(np.uint8)
    settled = settle(labels)
    for row in range(30):
        for column in range(40):
            counts = np.bincount(labels[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel())
            expected = counts.argmax() if counts.max() > 2 else IGNORE
            assert settled[row, column] == expected


def test_the_nearer_thing_hides_the_farther() -> None:
    near, far = thing("balloon", 5, 30, (200, 0, 0)), thing("ring", 50, 34, (0, 0, 200))
    for order in ((near, far), (far, near)):
        picture, labels = render(scene_with(*order))
        assert labels[24, 30] == CLASSES.index("balloon")
        assert labels[24, 42] == CLASSES.index("ring")
        assert picture[24, 30, 0] > 150
        assert picture[24, 42, 2] > 100


def test_a_ring_shows_the_sky_through_its_hole() -> None:
    _, labels = render(scene_with(thing("ring", 5, 30, (200, 0, 0))))
    assert labels[24, 30] == CLASSES.index("sky")
    assert labels[24, 22] == CLASSES.index("ring")


def test_things_may_leave_the_picture() -> None:
    for x in (-30.0, -5.0, 66.0, 500.0):
        picture, labels = render(scene_with(thing("star", 5, x, (200, 0, 0))))
        assert picture.shape == (48, 64, 3)
        assert labels.shape == (48, 64)


def test_a_perfect_camera_changes_nothing() -> None:
    light = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.float32)
    np.testing.assert_array_equal(expose(light, PLAIN), light.astype(np.uint8))


def test_noise_has_its_deviation_and_light_its_slope() -> None:
    flat = np.full((96, 128, 3), 120, np.float32)
    noisy = expose(flat, dataclasses.replace(PLAIN, noise=6.0)).astype(np.float64)
    assert abs(noisy.mean() - 120) < 0.2
    assert abs(noisy.std() - 6) < 0.15
    sloped = expose(flat, dataclasses.replace(PLAIN, contrast=0.5))[0, :, 0]
    assert sloped[0] == 90
    assert sloped[-1] == 150


def test_full_blur_is_one_two_one() -> None:
    light = np.zeros((5, 5, 3), np.float32)
    light[2, 2] = 160
    blurred = expose(light, dataclasses.replace(PLAIN, blur=1.0))[1:4, 1:4, 0]
    np.testing.assert_array_equal(blurred, [[10, 20, 10], [20, 40, 20], [10, 20, 10]])
