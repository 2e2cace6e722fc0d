"""Resizing there and back, against definitions written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_core.geometry import Fit, bilinear, fit, nearest, pad, unfit, unfit_scores

SIDES = st.integers(1, 24)


def test_a_picture_of_the_right_size_is_left_alone():
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    fitted, how = fit(picture, 7, 9)
    assert fitted is picture
    assert how == Fit(7, 9)


def test_shrinking_averages_and_does_not_skip():
    stripes = np.zeros((8, 12, 3), np.uint8)
    stripes[:, ::2] = 200
    fitted, how = fit(stripes, 4, 3)
    assert how == Fit(8, 12)
    assert np.all(fitted == 100)


def test_growing_keeps_flat_pictures_flat():
    fitted, _ = fit(np.full((3, 4, 3), 77, np.uint8), 10, 5)
    assert fitted.shape == (10, 5, 3)
    assert np.all(fitted == 77)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([np.uint8, np.uint16]))
def test_nearest_takes_the_pixel_the_centre_falls_into(h, w, height, width, kind):
    classmap = np.arange(h * w, dtype=kind).reshape(h, w)
    out = nearest(classmap, height, width)
    assert out.dtype == kind
    for row in range(height):
        for column in range(width):
            expected = classmap[int((row + 0.5) * h / height), int((column + 0.5) * w / width)]
            # A centre exactly on a border is decided in whole numbers there and by rounding here.
            exact = (2 * row + 1) * h % (2 * height) == 0 or (2 * column + 1) * w % (2 * width) == 0
            assert exact or out[row, column] == expected


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_whole_factors_come_back(factor):
    classmap = np.random.default_rng(1).integers(0, 9, (5, 6), dtype=np.uint8)
    large = unfit(classmap, Fit(5 * factor, 6 * factor))
    assert np.array_equal(large, classmap.repeat(factor, 0).repeat(factor, 1))
    assert np.array_equal(unfit(large, Fit(5, 6)), classmap)


def test_scores_follow_a_ramp_and_keep_the_edges():
    ramp = np.arange(4, dtype=np.float32)[None, None].repeat(2, 1)  # (1, 2, 4)
    out = unfit_scores(ramp, Fit(2, 8))
    np.testing.assert_allclose(out[0, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)
    assert bilinear(ramp, 2, 4) is ramp


def test_padding_replicates_the_edge():
    batch = np.arange(2 * 3 * 5 * 3, dtype=np.uint8).reshape(2, 3, 5, 3)
    padded = pad(batch, 4)
    assert padded.shape == (2, 4, 8, 3)
    assert np.array_equal(padded[:, :3, :5], batch)
    assert np.array_equal(padded[:, 3, :5], batch[:, 2])
    assert np.array_equal(padded[:, :3, 7], batch[:, :, 4])
    assert pad(padded, 4) is padded
