"""Crops that grow: sizes by hand, what a loader makes of them, and a run that goes on as if never stopped."""

from __future__ import annotations

import pytest
import torch

from segx_core.datasets import open_dataset
from segx_core.errors import ConfigError
from segx_trainer import checkpoint
from segx_trainer.config import build_config
from segx_trainer.loading import Pictures, Plan, train_loader
from segx_trainer.progressive import Growth
from segx_trainer.train import resumed_config, train


def test_sizes_by_hand() -> None:
    growth = Growth((352, 480), 100, 0.5, 0.5)
    # 0.5 of 352x480 is 176x240: 5.5 and 7.5 strides, of which Python rounds to the even ones.
    assert growth.at(0) == (192, 256)
    assert growth.at(25) == (256, 352)  # 0.75: 8.25 and 11.25 strides
    assert growth.at(49) == (352, 480)
    assert growth.at(50) == growth.at(99) == (352, 480)
    assert growth.sizes()[0] == (192, 256)
    assert growth.sizes()[-1] == (352, 480)
    areas = [height * width for height, width in growth.sizes()]
    assert areas == sorted(areas)
    assert growth.zoom((176, 240)) == pytest.approx(0.5)


def test_without_growth_every_crop_is_full_even_of_odd_sizes() -> None:
    growth = Growth((50, 70), 1 << 30)
    assert growth.sizes() == ((50, 70),)
    assert growth.at(0) == growth.at(7) == (50, 70)


def test_small_crops_show_the_whole_picture_smaller(tiny_data, make_config) -> None:
    data = open_dataset(tiny_data)
    kept = Pictures(data, data.split("train"), "auto", "train")
    config = make_config(augment="none", scale=(1.0, 1.0), progressive=(0.5, 0.5), workers=0)
    plan = Plan(len(kept), 2, 0)
    batches = list(train_loader(kept, config, (64, 64), plan, 0, 4, pin=False))
    (images, masks), (_, full) = batches[0], batches[-1]
    assert images.shape == (2, 3, 32, 32)
    assert full.shape == (2, 64, 64)
    visit = plan.batch(0)[0]
    there, small = kept[visit.sample][1][:, 8:72], masks[0]
    shares = [torch.bincount(mask.flatten(), minlength=3) / mask.numel() for mask in (small, there)]
    assert (shares[0] - shares[1]).abs().max() < 0.1


def test_a_resumed_run_grows_on(tmp_path, make_config) -> None:
    config = make_config(size=(64, 64), progressive=(0.5, 0.6), steps=6, save_every=1, epochs=None)
    train(config, tmp_path / "whole")
    first = train(config.model_copy(update={"until": 1e-9}), tmp_path / "parts")
    assert first.ending == "until"
    written = (tmp_path / "parts" / "config.yaml").read_text()
    (tmp_path / "parts" / "config.yaml").write_text(written.replace("until: 1.0e-09", "until: null"))
    train(resumed_config(tmp_path / "parts", {}), tmp_path / "parts", resume=True)
    whole, parts = (checkpoint.read(tmp_path / name / "last.pt")["network"] for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


@pytest.mark.parametrize("value", [[0, 0.5], [0.5, 1.5]])
def test_shares_are_checked(value: list[float]) -> None:
    with pytest.raises(ConfigError, match="shares"):
        build_config({"data": "x", "progressive": value})


def test_pixels_add_up() -> None:
    growth = Growth((256, 320), 20, 0.5, 0.7)
    pixels = growth.pixels()
    assert (len(pixels), pixels[0]) == (21, 0)
    for step in range(20):
        height, width = growth.at(step)
        assert pixels[step + 1] - pixels[step] == height * width
    assert pixels[1] * 4 == 256 * 320
