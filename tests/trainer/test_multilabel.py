"""Training on multilabel data: targets stay bit fields until the loss, and validation counts them as the files will."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segx_core.confusion import miou
from segx_core.datasets import open_dataset
from segx_core.errors import ConfigError
from segx_trainer import augment
from segx_trainer.checkpoint import load_run
from segx_trainer.loading import Pictures, Plan, train_loader
from segx_trainer.train import resumed_config, train
from segx_trainer.validate import validate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, draw_overlapping: Callable[..., Path]) -> Path:
    return draw_overlapping(tmp_path_factory.mktemp("multilabel") / "data", 10)


def test_augmentation_invents_no_label(data: Path, make_config: Any) -> None:
    dataset = open_dataset(data)
    config = make_config(data=str(data), augment="strong", workers=0)
    pictures = Pictures(dataset, dataset.split("train"), "always", "train")
    known = {int(value) for sample in dataset.split("train") for value in np.unique(dataset.read(sample)[1])}
    plan = Plan(len(pictures), 4, 0)
    seen = set()
    for images, targets in train_loader(pictures, config, (48, 96), plan, 0, 6, pin=False):
        assert images.shape == (4, 3, 48, 96)
        assert targets.dtype == torch.int64
        seen |= set(targets.unique().tolist())
    assert dataset.ignore_index in seen  # also outside the picture
    assert seen <= known


def test_a_run_learns_with_bce_and_its_card_says_so(data: Path, make_config: Any, tmp_path: Path) -> None:
    config = make_config(data=str(data), epochs=3, validate_every=3)
    result = train(config, tmp_path / "run")
    loaded = load_run(tmp_path / "run")
    assert (loaded.card.task, loaded.card.thresholds) == ("multilabel", (0.5, 0.5, 0.5))
    assert loaded.card.ignore_index == 8
    assert loaded.card.training is not None
    assert loaded.card.training.loss == loaded.config.loss == "bce"
    assert resumed_config(tmp_path / "run", {}).loss == "bce"
    dataset = open_dataset(data)
    pictures = Pictures(dataset, dataset.split("val"), "never", "val")
    counts = validate(loaded.network, pictures, torch.device("cpu"), 1)
    assert counts.shape == (3, 2, 2)
    assert counts.sum() == 3 * len(pictures) * 60 * 80  # four rows of each are ignored
    assert miou(counts) == pytest.approx(result.miou, abs=1e-6)
    assert (tmp_path / "run" / "preview.png").stat().st_size > 0


def test_a_softmax_loss_asked_for_is_refused_before_anything_is_written(
    data: Path, make_config: Any, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="a loss of multilabel data"):
        train(make_config(data=str(data), loss="0.5*ce"), tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_sixteen_labels_and_ignored_pixels_survive_augmentation() -> None:
    ignored, every = 1 << 16, (1 << 16) - 1
    mask = torch.randint(0, 1 << 16, (40, 50), generator=torch.Generator().manual_seed(0))
    mask[0, 0] = every
    image = torch.zeros((3, 40, 50), dtype=torch.uint8)
    torch.manual_seed(1)
    seen: set[int] = set()
    for _ in range(4):
        _, moved = augment.apply(augment.preset("light", (64, 64), ignored), image, mask)
        seen |= set(moved.unique().tolist())
    assert ignored in seen  # the crop is larger than the picture
    assert seen - {ignored} <= set(mask.unique().tolist())
