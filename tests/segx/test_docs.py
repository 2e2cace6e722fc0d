"""Every dataset.yaml of docs/data.md opens a real folder and means what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segx_core.datasets import open_dataset

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
PLAIN = (("images", "masks"),)
FRAMES = (("frames/2023", "truth/2023"), ("frames/2024", "truth/2024"))
ROAD, CAR, BUS, VOID = (128, 64, 128), (64, 0, 128), (64, 128, 192), (0, 0, 0)

# What stands in the masks, what they are read as, and the classes: one entry for each example, in the page's order.
CASES = [
    (PLAIN, [0, 255], [0, 1], ("sound", "crack")),
    (FRAMES, [0, 1, 2, 255], [0, 1, 2, 255], ("sky", "road", "car")),
    (PLAIN, [ROAD, CAR, BUS, VOID], [0, 1, 1, 255], ("road", "car")),
    (PLAIN, [0, 255], [0, 1], ("background", "crack")),
    (PLAIN, [0, 1], [0, 1], ("background", "foreground")),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_examples_are_true(number: int, tmp_path: Path) -> None:
    assert len(EXAMPLES) == len(CASES)
    folders, stored, meant, classes = CASES[number]
    stripes = np.array(stored, np.uint8).repeat(4, axis=0)[None].repeat(8, axis=0)  # (8, W[, 3])
    for images, masks in folders:
        for kind in (images, masks):
            (tmp_path / kind).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            Image.fromarray(stripes).save(tmp_path / masks / name)
            Image.new("RGB", stripes.shape[1::-1]).save(tmp_path / images / name)
    (tmp_path / "dataset.yaml").write_text(EXAMPLES[number])
    data = open_dataset(tmp_path)
    assert data.classes == classes
    for split in ("train", "val"):
        for sample in data.split(split):
            assert data.read(sample)[1][0].tolist() == np.repeat(meant, 4).tolist()
    if "palette: {crack" in EXAMPLES[number]:
        assert data.palette[1] == (255, 140, 0)
    if "modalities" in EXAMPLES[number]:
        assert data.modalities["depth"].scale == 0.001
