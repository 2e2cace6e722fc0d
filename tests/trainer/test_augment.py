from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_trainer import augment


def picture(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels 0 and 7 in stripes; the picture repeats the label in every channel, 0 or 250."""
    mask = (torch.arange(width) // 8 % 2 * 7).repeat(height, 1)
    return (mask * 250 // 7).to(torch.uint8).repeat(3, 1, 1), mask


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


@given(st.integers(0, 10_000))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_picture_and_labels_stay_together(seed: int) -> None:
    torch.manual_seed(seed)
    image, mask = augment.apply([augment.ScaleCrop((48, 48), (0.5, 2.0), 255)], *picture(64, 80))
    inside = mask != 255
    # Interpolated edges are grey; away from them a pixel shows its label.
    clear = inside & ((image[0] < 20) | (image[0] > 230))
    assert ((image[0] > 125) == (mask == 7))[clear].all()
    assert clear.sum() > 0.6 * inside.sum()


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
