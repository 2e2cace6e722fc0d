from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from segx_core.datasets import open_dataset, sheet
from segx_core.datasets.scan import scan
from segx_core.errors import DataError


@pytest.fixture
def data(pairs, tmp_path, monkeypatch):
    """Twelve pictures; class 2 in one, class 1 in three of them, the last one blank."""
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path / "cache"))
    masks = {f"p{index:02}": np.zeros((40, 60), np.uint8) for index in range(12)}
    for index, side in ((3, 8), (5, 4), (9, 6)):
        masks[f"p{index:02}"][:side, :side] = 1
    masks["p07"][30:, 50:] = 2
    masks["p11"][:] = 255
    root = pairs(masks, images="train/images", folder="train/masks", root=tmp_path / "data")
    pairs({"v": masks["p03"]}, images="val/images", folder="val/masks", root=root)
    palette = "{ground: [0, 0, 250], hut: [250, 0, 0], well: [0, 250, 0]}"
    (root / "dataset.yaml").write_text(
        f"classes: [ground, hut, well]\nmasks: {{encoding: index, palette: {palette}}}\n"
    )
    return open_dataset(root)


def test_rare_classes_are_on_it(data):
    counted = scan(data, "train")
    assert sheet.choose(counted, 1) == [7]
    assert sheet.choose(counted, 2) == [3, 7]
    assert {3, 5, 7, 9} <= set(sheet.choose(counted, 9))
    assert 11 not in sheet.choose(counted, 11)
    assert sheet.choose(counted, 99) == list(range(12))


def test_those_that_hold_a_class(data):
    counted = scan(data, "train")
    assert sheet.holding(counted, 1, 9) == [3, 5, 9]
    assert sheet.holding(counted, 1, 1) == [3]
    assert sheet.holding(counted, 2, 4) == [7]


def colours(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_it_shows_labels_and_legend(data):
    shown = colours(sheet.draw(data, "train", 4))
    assert shown.shape[1] == 2 * (2 * 300 + 12) + 3 * 12
    for colour in ([0, 0, 250], [250, 0, 0], [0, 250, 0]):  # the legend has the colours bare
        assert (shown == colour).all(axis=-1).sum() > 100
    alone = colours(sheet.draw(data, "train", 4, "hut"))
    assert not (alone == [0, 0, 250]).all(axis=-1).any()
    assert (alone == [250, 0, 0]).all(axis=-1).sum() > 100
    assert sheet.draw(data, "train", 4) == sheet.draw(data, "train", 4)


def test_multilabel_pictures(draw_overlapping, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path / "cache"))
    data = open_dataset(draw_overlapping(tmp_path / "data", 4))
    both = colours(sheet.draw(data, "train", 2))
    assert both.shape == colours(sheet.draw(data, "train", 2, "disc"))[: both.shape[0]].shape


def test_what_is_not_there_is_refused(data):
    with pytest.raises(DataError, match="Did you mean 'hut'"):
        sheet.draw(data, "train", 4, "huts")
    with pytest.raises(DataError, match="hold 'well'"):
        sheet.draw(data, "val", 4, "well")
    with pytest.raises(DataError, match="a split of"):
        sheet.draw(data, "vall", 4)
