"""Every dataset.yaml of docs/data.md opens a real folder and means what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segx_core import card_io
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


SEVERAL = (Path(__file__).parents[2] / "docs" / "multilabel.md").read_text(encoding="utf-8")


def test_the_multilabel_examples_are_true(tmp_path: Path) -> None:
    described, card = re.findall(r"```yaml\n(.*?)```", SEVERAL, flags=re.DOTALL)
    grass, shade, path = (np.array(rows) for rows in ([[1, 1, 0]], [[0, 1, 0]], [[1, 0, 0]]))
    for home, kind in (("folders", "a"), ("fields", "b")):
        (tmp_path / home / "images").mkdir(parents=True)
        masks = tmp_path / home / "masks"
        masks.mkdir()
        for name in ("yard7", "yard8"):
            Image.new("RGB", (3, 1)).save(tmp_path / home / "images" / f"{name}.jpg")
            if kind == "a":
                (masks / name).mkdir()
                for label, plane in (("grass", grass), ("shade", shade), ("path", path), ("ignore", 1 - grass)):
                    Image.fromarray((plane * 255).astype(np.uint8)).save(masks / name / f"{label}.png")
            else:
                fields = grass * 1 + shade * 2 + path * 4 + (1 - grass) * 8
                Image.fromarray(fields.astype(np.uint8)).save(masks / f"{name}.png")
        (tmp_path / home / "dataset.yaml").write_text(described)
        data = open_dataset(tmp_path / home)
        for sample in data.split("all"):
            assert data.read(sample)[1].tolist() == [[5, 3, 8]]
    (tmp_path / "card.yaml").write_text(card)
    assert card_io.load(tmp_path / "card.yaml").thresholds == (0.4, 0.4, 0.4)
