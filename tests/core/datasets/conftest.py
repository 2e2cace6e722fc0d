"""Small data sets written as real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _save(path: Path, pixels: object, palette: list[int] | None = None, **options: object) -> Path:
    """Write an array as a picture; with `palette` (flat RGB) as a palette picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels))
    if palette is not None:
        image.putpalette(palette)
    image.save(path, **options)
    return path


@pytest.fixture
def save():
    return _save


@pytest.fixture
def pairs(tmp_path):
    """Write pictures and masks: pairs({"a": [[0, 1]], ...}, images="images", masks="masks") -> the root folder."""

    def write(masks, images="images", folder="masks", ending="", suffix=".png", dtype=np.uint8, root=tmp_path):
        for seed, (name, values) in enumerate(masks.items()):
            mask = np.asarray(values, dtype=dtype)
            rng = np.random.default_rng(seed)
            _save(root / images / f"{name}.jpg", rng.integers(0, 256, (*mask.shape[:2], 3), dtype=np.uint8))
            _save(root / folder / f"{name}{ending}{suffix}", mask)
        return root

    return write
