from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import max_pool2d

from segx_trainer import augment
from segx_trainer.augment import Labels, Pair, load

SHADES = 30
"""A pixel of class k shows k * SHADES in every channel."""


def picture(height: int, width: int, labels: tuple[int, ...] = (0, 7)) -> Pair:
    """Blocks of 16x20 pixels of the labels in turn; the picture repeats its label as a grey level."""
    rows, columns = torch.arange(height).unsqueeze(1) // 16, torch.arange(width).unsqueeze(0) // 20
    mask = torch.tensor(labels)[(rows + columns) % len(labels)]
    return (mask * SHADES).to(torch.uint8).repeat(3, 1, 1), mask


def steps(content: dict[str, Any], size: tuple[int, int] = (64, 96), labels: Labels | int = 255) -> Any:
    policy = load(content)
    assert isinstance(policy, augment.Policy)
    return augment.preset(policy, size, labels)


def agree(image: Tensor, mask: Tensor, ignored: int = 255) -> float:
    """The share of pixels, two or more away from every border of labels, whose colour is that of their label."""
    labels = mask.to(torch.float32)[None]
    flat = max_pool2d(labels, 5, 1, 2) == -max_pool2d(-labels, 5, 1, 2)
    judged = flat[0] & (mask != ignored)
    assert judged.any()
    return float(((image.to(torch.int64) - mask * SHADES).abs().amax(dim=0) <= 2)[judged].float().mean())


@pytest.mark.parametrize("name", ["none", "light", "strong"])
def test_every_preset_gives_one_size_and_only_old_labels(name: Literal["none", "light", "strong"]) -> None:
    torch.manual_seed(0)
    for height, width in ((40, 50), (200, 90)):
        for _ in range(10):
            image, mask = augment.apply(augment.preset(name, (64, 96), 255), *picture(height, width))
            assert image.shape == (3, 64, 96)
            assert mask.shape == (64, 96)
            assert image.dtype == torch.uint8
            assert mask.dtype == torch.int64
            assert set(mask.unique().tolist()) <= {0, 7, 255}


MOVING: dict[str, dict[str, Any]] = {
    "scale": {"scale": [0.6, 2.0]},
    "aspect": {"aspect": 1.5},
    "flip": {"flip": 1},
    "vertical_flip": {"vertical_flip": 1},
    "warp": {"warp": {"p": 1, "degrees": 25, "shear": 10}},
    "cutmix": {"scale": [0.7, 1.5], "cutmix": {"p": 1}},
    "classmix": {"scale": [0.7, 1.5], "classmix": {"p": 1}},
    "mosaic": {"scale": [0.7, 1.5], "mosaic": {"p": 1}},
    "copy_paste": {"copy_paste": {"p": 1, "smallest": 8}},
    "all": {
        "scale": [0.7, 1.5], "aspect": 1.2, "flip": 0.5, "vertical_flip": 0.5, "warp": {}, "mosaic": {}, "cutmix": {},
        "classmix": {}, "copy_paste": {"smallest": 8},
    },
}  # fmt: skip
"""Every step that moves pixels, alone and together."""


@pytest.mark.parametrize("name", list(MOVING))
@given(seed=st.integers(0, 1 << 40), height=st.integers(40, 100), width=st.integers(40, 130))
@settings(deadline=None, derandomize=True, max_examples=25)
def test_picture_and_labels_stay_together(name: str, seed: int, height: int, width: int) -> None:
    pool = [picture(height, width, (0, 7)), picture(80, 70, (2, 4, 6)), picture(50, 120, (1, 3, 8))]
    originals = [(image.clone(), mask.clone()) for image, mask in pool]
    chosen = steps(MOVING[name], labels=Labels(255, donors={7: (0,), 4: (1,)}))
    image, mask = augment.apply(chosen, *pool[0], rng=augment.stream(seed, 0, 0), pool=pool)
    assert image.shape == (3, 64, 96)
    assert mask.dtype == torch.int64
    assert set(mask.unique().tolist()) <= {0, 1, 2, 3, 4, 6, 7, 8, 255}
    # A warp blends with what lies outside, and mixes lay a class beside pixels that were blended with another one
    # before: borders that the labels do not show.
    assert agree(image, mask) > (0.9999 if name in ("scale", "aspect", "flip", "vertical_flip") else 0.85)
    for (kept, labels), (before, labels_before) in zip(pool, originals, strict=True):
        assert torch.equal(kept, before)
        assert torch.equal(labels, labels_before)


@given(seed=st.integers(0, 1 << 40))
@settings(deadline=None, derandomize=True, max_examples=25)
def test_a_warp_moves_both_by_the_same_subpixel(seed: int) -> None:
    mask = torch.full((64, 96), 0)
    mask[20:40, 30:60] = 8
    image = (mask * SHADES).to(torch.uint8).repeat(3, 1, 1)
    chosen = steps({"warp": {"p": 1, "degrees": 40, "shear": 20}})
    shown, found = augment.apply(chosen, image, mask, rng=augment.stream(seed, 1, 2))
    half = (shown[0] > 4 * SHADES + 3) & (found != 255)
    differ = (half != (found == 8)) & (found != 255) & ((shown[0] < 4 * SHADES - 3) | half)
    # Both cross the edge at the same place, so the middle grey lies on the labels' border.
    assert differ.sum() <= 0.02 * 20 * 30 + 6


@given(
    seed=st.integers(0, 1 << 40),
    full=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    place=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_a_focus_stays_in_the_window(seed: int, full: tuple[int, int], place: tuple[float, float]) -> None:
    focus = (int(place[0] * full[0]), int(place[1] * full[1]))
    mask = torch.zeros(full, dtype=torch.int64)
    mask[focus] = 9
    crop = augment.ScaleCrop((64, 96), (1.0, 3.0), 255, aspect=1.3)
    # Enlarged at least by 1.0 / sqrt(1.3) a side: wherever that is not less than a pixel, the pixel must be seen.
    image = mask.to(torch.uint8).repeat(3, 1, 1)
    draw = augment.Draw(augment.stream(seed, 0, 0), [(image, mask)], focus)
    for axis, (first, last, _, _) in enumerate(crop.window(full, draw)):
        assert first <= focus[axis] < last
    plain = augment.ScaleCrop((64, 96), (1.0, 3.0), 255)
    _, found = augment.apply([plain], image, mask, focus, augment.stream(seed, 0, 0))
    assert (found == 9).any()


def test_windows_with_a_focus_are_drawn_evenly_among_those_that_hold_it() -> None:
    crop = augment.ScaleCrop((10, 10), (1.0, 1.0), 255)
    draw = augment.Draw(augment.stream(0, 0, 0), [], (4, 25))
    starts = [[span[0] for span in crop.window((30, 60), draw)] for _ in range(4000)]
    for axis, possible in ((0, range(5)), (1, range(16, 26))):
        counts = np.bincount([start[axis] for start in starts])
        assert set(np.flatnonzero(counts)) == set(possible)
        assert counts[list(possible)].min() > 0.8 * 4000 / len(possible)


def test_nothing_random_at_scale_one_and_full_size() -> None:
    image, mask = picture(64, 96)
    found = augment.apply(augment.preset("none", (64, 96), 255), image, mask)
    assert torch.equal(found[0], image)
    assert torch.equal(found[1], mask)


def test_scale_takes_the_place_of_the_presets() -> None:
    torch.manual_seed(0)
    masks = [augment.apply(augment.preset("light", (64, 96), 255, (1.0, 1.0)), *picture(64, 96))[1] for _ in range(8)]
    assert all((mask != 255).all() for mask in masks)


def test_a_smaller_picture_is_padded_with_ignored_pixels() -> None:
    torch.manual_seed(1)
    _, mask = augment.apply(augment.preset("none", (64, 96), 255), *picture(32, 48))
    assert (mask != 255).sum() == 32 * 48


@pytest.mark.parametrize("name", ["light", "strong"])
def test_a_visit_is_a_function_of_seed_epoch_and_index_alone(name: Literal["light", "strong"]) -> None:
    pool = [picture(80, 100, (0, 7)), picture(80, 70, (2, 4, 6))]
    chosen = augment.preset(name, (64, 96), Labels(255, donors={7: (0,), 4: (1,)}))

    def visit(*key: int) -> Pair:
        return augment.apply(chosen, *pool[0], rng=augment.stream(*key), pool=pool)

    for key in [(seed, epoch, index) for seed in (0, 5) for epoch in (0, 3) for index in (0, 1)]:
        torch.manual_seed(len(key))  # no global generator has a say
        np.random.seed(sum(key))
        first = visit(*key)
        assert all(torch.equal(a, b) for a, b in zip(first, visit(*key), strict=True))
        assert not torch.equal(first[0], visit(key[0], key[1] + 1, key[2])[0])
        assert not torch.equal(first[0], visit(key[0] + 1, *key[1:])[0])


def test_torchs_generator_is_left_alone_where_one_is_given() -> None:
    before = torch.get_rng_state()
    augment.apply(augment.preset("strong", (64, 96), 255), *picture(70, 90), rng=augment.stream(0, 0, 0))
    assert torch.equal(before, torch.get_rng_state())
