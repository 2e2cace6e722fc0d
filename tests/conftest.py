"""For all tests: hypothesis draws the same examples in every run, and a busy machine is no failure.

And a tiny multilabel data set, which tests of several parts draw.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")

OVERLAPPING = ("shape", "square", "disc")


@pytest.fixture(scope="session")
def draw_overlapping() -> Callable[..., Path]:
    """`draw_overlapping(root, count, fields=False)` writes a multilabel data set, the same every time.

    Pictures of 64x80: a red square and a blue disc that overlap, both of them shapes. The masks are folders of a
    black-and-white one a class, the uppermost rows ignored; with `fields` PNGs of bit fields.
    """

    def draw(root: Path, count: int, *, fields: bool = False) -> Path:
        random = np.random.default_rng(5)
        (root / "images").mkdir(parents=True)
        (root / "masks").mkdir()
        rows, columns = np.mgrid[:64, :80]
        for index in range(count):
            y, x = random.integers(18, 46), random.integers(18, 62)
            square = (abs(rows - y) < 16) & (abs(columns - x) < 16)
            y, x = y + random.integers(-12, 13), x + random.integers(-12, 13)
            disc = (rows - y) ** 2 + (columns - x) ** 2 < 15**2
            picture = np.stack([np.where(square, 210, 50), np.full((64, 80), 60), np.where(disc, 210, 50)], -1)
            noisy = np.clip(picture + random.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(root / "images" / f"p{index:02}.png")
            planes = {"shape": square | disc, "square": square, "disc": disc, "ignore": rows < 4}
            if fields:
                packed = sum(plane.astype(np.uint8) << bit for bit, plane in enumerate(planes.values()))
                Image.fromarray(np.asarray(packed, np.uint8)).save(root / "masks" / f"p{index:02}.png")
                continue
            (root / "masks" / f"p{index:02}").mkdir()
            for name, plane in planes.items():
                Image.fromarray(plane.astype(np.uint8) * 255).save(root / "masks" / f"p{index:02}" / f"{name}.png")
        (root / "dataset.yaml").write_text(f"classes: [{', '.join(OVERLAPPING)}]\nmasks: {{encoding: multilabel}}\n")
        return root

    return draw
