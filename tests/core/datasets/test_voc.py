from __future__ import annotations

import numpy as np
import pytest

from segx_core.datasets import open_dataset, voc
from segx_core.errors import DataError

NAMES = [f"2007_00000{i}" for i in range(6)]


@pytest.fixture
def write(pairs, tmp_path):
    def _write(names, lists=None, values=((0, 15, 255),)):
        pairs(dict.fromkeys(names, values), images="JPEGImages", folder="SegmentationClass")
        for name, stems in (lists or {}).items():
            path = tmp_path / "ImageSets" / "Segmentation" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(stems) + "\n\n")
        return tmp_path

    return _write


def test_vocs_own_pictures_bring_twenty_one_classes(write):
    data = open_dataset(write(NAMES, {"train": NAMES[:4], "val": NAMES[4:], "trainval": NAMES}))
    assert data.layout == "voc"
    assert len(data.classes) == 21
    assert data.classes[15] == "person"
    assert data.palette[15] == (192, 128, 128)
    assert data.ignore_index == 255
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 4, "val": 2}
    np.testing.assert_array_equal(data.read(data.split("val")[0])[1], [[0, 15, 255]])


def test_the_palette_is_the_devkits():
    assert voc.voc_palette(5) == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert voc.voc_palette(256)[255] == (224, 224, 192)
    assert len(set(voc.voc_palette(256))) == 256


def test_test_split_without_masks_is_left_out(write):
    data = open_dataset(write(NAMES, {"train": NAMES[:4], "val": NAMES[4:], "test": ["2008_000001"]}))
    assert "test" not in data.splits
    assert any("test split has no masks" in note for note in data.notes)


def test_without_lists_every_mask_counts(write, save):
    root = write(NAMES)
    save(root / "JPEGImages" / "2007_000099.jpg", np.zeros((1, 3, 3), dtype=np.uint8))
    data = open_dataset(root)
    assert (len(data.split("train")), len(data.split("val"))) == (5, 1)
    assert any("1 pictures without a mask" in note for note in data.notes)


def test_other_pictures_keep_their_own_classes_and_cvats_list(write):
    names = ["x1", "x2", "x3"]
    data = open_dataset(write(names, {"default": names}, ((0, 1, 2),)))
    assert data.classes == ("class_0", "class_1", "class_2")
    assert len(data.split("all")) == 3


def test_cvats_colours(write, tmp_path):
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\n")
    data = open_dataset(write(["x1", "x2"], {"default": ["x1", "x2"]}, [[[0, 0, 0], [250, 50, 83]]]))
    assert data.classes == ("background", "cat")
    np.testing.assert_array_equal(data.read_mask(data.split("val")[0]), [[0, 1]])


def test_lists_that_name_what_is_not_there(write):
    root = write(NAMES[:2], {"train": [*NAMES[:2], "2007_000077"]})
    with pytest.raises(
        DataError, match=r"train\.txt, got 1 without a picture in JPEGImages \(2007_000077\) and 1 with"
    ):
        open_dataset(root)


def test_not_voc_and_empty_voc(tmp_path):
    assert voc.look(tmp_path) is None
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "SegmentationClass").mkdir()
    with pytest.raises(DataError, match="none in SegmentationClass"):
        voc.look(tmp_path)
