from __future__ import annotations

import numpy as np
import pytest

from segx_core.datasets import class_file
from segx_core.datasets.masks import MaskEncoding
from segx_core.errors import DataError


@pytest.fixture
def index_mask(save, tmp_path):
    return [save(tmp_path / "m" / "i.png", np.array([[0, 1]], dtype=np.uint8))]


@pytest.fixture
def color_mask(save, tmp_path):
    return [save(tmp_path / "m" / "c.png", np.array([[[64, 128, 64], [0, 0, 0]]], dtype=np.uint8))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nanimal:64,128,64::\nroad:128,64,128::\nvoid:0,0,0::\n"),
        ("class_dict.csv", "name,r,g,b\nanimal,64,128,64\nroad,128,64,128\nVoid,0,0,0\n"),
        ("label_colors.txt", "64 128 64\tanimal\n128 64 128\troad\n0 0 0\tVoid\n"),
    ],
)
def test_colour_files(tmp_path, color_mask, name, text):
    (tmp_path / name).write_text(text)
    labels = class_file.find(tmp_path, color_mask)
    assert labels.classes == ("animal", "road")
    assert labels.palette == ((64, 128, 64), (128, 64, 128))
    assert labels.encoding == MaskEncoding("rgb", (((64, 128, 64), 0), ((128, 64, 128), 1), ((0, 0, 0), 255)))
    assert name in labels.notes[0]


def test_colours_of_index_masks_are_for_display(tmp_path, index_mask):
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nsky,1,2,3\nroad,4,5,6\n")
    labels = class_file.find(tmp_path, index_mask)
    assert labels.palette == ((1, 2, 3), (4, 5, 6))
    assert labels.encoding == MaskEncoding("index")


@pytest.mark.parametrize("name", ["classes.txt", "class_names.txt", "labels.txt"])
def test_plain_names(tmp_path, index_mask, name):
    (tmp_path / name).write_text("\ufeff__ignore__\n_background_\n\ntraffic light\n", encoding="utf-8")
    labels = class_file.find(tmp_path, index_mask)
    assert labels.classes == ("_background_", "traffic light")
    assert labels.ignore_index == 255


def test_no_file(tmp_path, index_mask):
    assert class_file.find(tmp_path, index_mask) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "a\na\n"),
        ("classes.txt", "\n"),
        ("label_colors.txt", "1 2 sky\n"),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,300\n"),
        ("labelmap.txt", "sky\n"),
    ],
)
def test_broken_files_are_named(tmp_path, index_mask, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=name):
        class_file.find(tmp_path, index_mask)
