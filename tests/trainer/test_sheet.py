from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segx_core.datasets import open_dataset
from segx_trainer import augment
from segx_trainer.loading import Pictures, Plan, train_loader
from segx_trainer.sheet import draw_sheet, write_sheet
from segx_trainer.train import train


@pytest.fixture(scope="module")
def training(tiny_data: Path) -> Pictures:
    data = open_dataset(tiny_data)
    return Pictures(data, data.split("train"), "always", "train")


def test_the_first_epoch_is_shown_as_it_is_trained_on(training: Pictures, make_config: Any) -> None:
    # Where labels are laid over, colours are mixed; what pads is bare, and stands where training has it.
    config = make_config(augment={"scale": [0.5, 0.5]}, seed=3, workers=0)
    sheet = draw_sheet(training, config.augment, (48, 240), seed=3, samples=1, versions=1)
    plan = Plan(12, 12, 3)
    images, masks = next(iter(train_loader(training, config, (48, 240), plan, 0, 1, pin=False)))
    at = [visit.sample for visit in plan.batch(0)].index(0)
    trained = (masks[at] == 255).numpy()
    shown = sheet[20:68, 243:483]  # below the caption, right of the original and half a gap
    assert trained.any()
    assert np.array_equal(shown[trained], images[at].permute(1, 2, 0).numpy()[trained])
    assert not np.array_equal(shown[~trained], images[at].permute(1, 2, 0).numpy()[~trained])  # labels are laid over


def test_a_sheet_has_a_cell_for_every_version_and_a_legend(training: Pictures) -> None:
    small, large = (draw_sheet(training, "strong", (32, 64), samples=5, versions=count) for count in (1, 3))
    assert large.shape[1] > 1.8 * small.shape[1]
    legend = draw_sheet(training, "none", (32, 64), samples=1)[-28:]
    for color in training.data.palette:
        assert (legend == color).all(axis=-1).sum() >= 14 * 14


def test_many_classes_and_bit_fields_are_drawn(draw_overlapping: Callable[..., Path], tmp_path: Path) -> None:
    data = open_dataset(draw_overlapping(tmp_path / "data", 6))
    pictures = Pictures(data, data.split("train"), "always", "train")
    sheet = draw_sheet(pictures, "strong", (48, 64), samples=3)
    write_sheet(tmp_path / "sheet.png", sheet)
    with Image.open(io.BytesIO((tmp_path / "sheet.png").read_bytes())) as found:
        assert np.array_equal(np.asarray(found), sheet)


def test_a_run_begins_with_the_sheet_and_a_resumed_one_keeps_it(make_config: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = make_config(epochs=1, augment=augment.Policy(flip=0.5))
    train(config, run)
    first = (run / "augment.png").read_bytes()
    (run / "augment.png").write_bytes(b"kept")
    train(config, run, resume=True)
    assert first.startswith(b"\x89PNG")
    assert (run / "augment.png").read_bytes() == b"kept"
