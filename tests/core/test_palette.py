from __future__ import annotations

import itertools

import pytest

from segx_core.errors import ConfigError
from segx_core.palette import default_palette


@pytest.mark.parametrize("n", [0, 1, 2, 21, 256, 729, 5000])
def test_all_colours_differ_and_are_8_bit(n):
    palette = default_palette(n)
    assert len(palette) == len(set(palette)) == n
    assert all(len(color) == 3 and all(type(v) is int and 0 <= v <= 255 for v in color) for color in palette)


def test_it_is_the_same_every_time_and_grows_at_the_end():
    assert default_palette(40) == default_palette(40)
    assert default_palette(900)[:40] == default_palette(40)
    assert default_palette(2)[0] == (32, 128, 224)


def test_the_first_twenty_are_far_apart():
    pairs = itertools.combinations(default_palette(20), 2)
    assert min(sum(abs(x - y) for x, y in zip(a, b, strict=True)) for a, b in pairs) >= 90


@pytest.mark.parametrize("n", [-1, (1 << 24) + 1])
def test_impossible_numbers_are_refused(n):
    with pytest.raises(ConfigError, match="number of colours"):
        default_palette(n)
