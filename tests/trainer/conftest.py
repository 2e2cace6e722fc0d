"""A tiny labelled folder, made once per session, and a config that trains on it in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segx_trainer.config import TrainConfig, build_config


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training and 4 validation pictures of 64x80: red squares (1) and blue discs (2) on green noise (0)."""
    root = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:64, :80]
    for split, count in (("train", 12), ("val", 4)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for index in range(count):
            mask = np.zeros((64, 80), np.uint8)
            y, x = rng.integers(14, 50), rng.integers(14, 66)
            mask[abs(rows - y) + 0 * columns < 12] &= 0
            mask[(abs(rows - y) < 10) & (abs(columns - x) < 10)] = 1
            v, u = rng.integers(14, 50), rng.integers(14, 66)
            mask[(rows - v) ** 2 + (columns - u) ** 2 < 81] = 2
            colors = np.array([[40, 160, 60], [200, 50, 40], [50, 60, 200]])
            picture = np.clip(colors[mask] + rng.normal(0, 20, (64, 80, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(root / split / "images" / f"{index:02}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{index:02}.png")
    return root


@pytest.fixture
def make_config(tiny_data: Path) -> Any:
    """A config of a very small network, with changes."""

    def make(**changes: Any) -> TrainConfig:
        values: dict[str, Any] = {
            "data": str(tiny_data),
            "model": "fpn",
            "encoder": "test_resnet",
            "encoder_weights": "none",
            "decoder_channels": 64,
            "size": (32, 64),
            "batch_size": 4,
            "epochs": 2,
            "device": "cpu",
        }
        return build_config({**values, **changes})

    return make
