from __future__ import annotations

import numpy as np
import pytest

from segx_core.datasets.scenes_textures import FAMILIES, Texture, paint, value_noise, wave

X = np.arange(0, 128, 0.5, dtype=np.float32)[None, :]
Y = np.arange(0, 96, 0.5, dtype=np.float32)[:, None]


def texture(family: str, seed: int = 3) -> Texture:
    return Texture(family=family, period=6, angle=0.7, phase=(3.3, 8.1), sharpness=2.0, seed=seed)


def test_wave_is_nearly_the_sine() -> None:
    turns = np.linspace(-3, 3, 4001, dtype=np.float32)
    np.testing.assert_allclose(wave(turns), np.sin(2 * np.pi * turns.astype(np.float64)), atol=2e-3)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_families_use_both_colours_alike(family: str) -> None:
    values = paint(texture(family), X, Y)
    assert values.shape == (192, 256)
    assert values.dtype == np.float32
    assert values.min() == 0
    assert values.max() == 1
    assert 0.35 < values.mean() < 0.65
    assert 0.25 < values.std() < 0.48


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_finer_grid_shows_the_same_pattern(family: str) -> None:
    coarse, fine = paint(texture(family), X[:, ::2], Y[::2]), paint(texture(family), X, Y)
    np.testing.assert_array_equal(coarse, fine[::2, ::2])


def test_noise_passes_through_its_knots_and_repeats() -> None:
    knots = np.random.default_rng(9).random((64, 64), dtype=np.float32) * 2 - 1
    u, v = np.arange(5, dtype=np.float32)[None, :], np.arange(7, dtype=np.float32)[:, None]
    u, v = np.broadcast_arrays(u, v)
    np.testing.assert_array_equal(value_noise(u, v, 9), knots[:7, :5])
    np.testing.assert_array_equal(value_noise(u + 64, v - 64, 9), knots[:7, :5])
