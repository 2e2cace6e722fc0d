from __future__ import annotations

import numpy as np
import pytest

from segx_core.datasets import Modality, open_dataset
from segx_core.datasets.masks import MaskEncoding
from segx_core.errors import DataError


@pytest.fixture
def write(tmp_path):
    def _write(text):
        path = tmp_path / "dataset.yaml"
        path.write_text(text)
        return path

    return _write


FULL = """
root: data
classes: [sky, road, car]
ignore: 255
masks: {encoding: index, palette: {road: [128, 64, 128]}}
splits:
  train: {images: train/*.jpg, masks: trainmasks/*.png}
  val: {images: val/*.jpg, masks: valmasks/*.png}
modalities: {depth: {path: depth/*.png, scale: 0.001, unit: m}, audio: {path: audio/*.wav}}
"""


def test_a_full_file(pairs, tmp_path, write):
    for split, names in (("train", "abc"), ("val", "de")):
        pairs({name: [[0, 2, 255]] for name in names}, images=split, folder=f"{split}masks", root=tmp_path / "data")
    data = open_dataset(write(FULL))
    assert data.layout == "dataset.yaml"
    assert data.root == tmp_path / "data"
    assert data.classes == ("sky", "road", "car")
    assert data.palette[1] == (128, 64, 128)
    assert len(set(data.palette)) == 3
    assert data.ignore_index == 255
    assert {name: [one.name for one in part] for name, part in data.splits.items()} == {
        "train": ["a", "b", "c"],
        "val": ["d", "e"],
    }
    assert data.modalities == {"depth": Modality("depth/*.png", 0.001, "m"), "audio": Modality("audio/*.wav")}
    assert data.notes == ()
    np.testing.assert_array_equal(data.read(data.split("val")[0])[1], [[0, 2, 255]])


def test_layout_and_encoding_are_found_where_not_said(pairs, write):
    pairs({name: [[0, 255]] for name in "abcde"})
    data = open_dataset(write("classes: [ground, cat]\n"))
    assert data.layout == "images+masks"
    assert data.encoding == MaskEncoding("binary")
    assert data.classes == ("ground", "cat")
    assert not data.inferred
    assert len(data.split("val")) == 1


def test_classes_are_read_off_the_masks_where_not_said(pairs, write):
    pairs({name: [[0, 1, 2]] for name in "ab"})
    data = open_dataset(write("root: .\n"))
    assert data.inferred
    assert len(data.classes) == 3


def test_colours(pairs, write):
    pairs({name: [[[0, 0, 0], [128, 64, 128], [128, 0, 0], [9, 9, 9]]] for name in "ab"})
    palette = "{sky: [[0, 0, 0], [9, 9, 9]], road: [128, 64, 128], ignore: [128, 0, 0]}"
    text = f"classes: [sky, road]\nmasks: {{encoding: rgb, palette: {palette}}}\n"
    data = open_dataset(write(text))
    assert data.palette == ((0, 0, 0), (128, 64, 128))
    np.testing.assert_array_equal(data.read_mask(data.split("all")[0]), [[0, 1, 255, 0]])
    named_by_palette = open_dataset(write(text.replace("classes: [sky, road]", "ignore: 200")))
    assert named_by_palette.classes == ("sky", "road")
    np.testing.assert_array_equal(named_by_palette.read_mask(data.split("all")[0]), [[0, 1, 200, 0]])


def test_globs_with_folders_and_plain_folders(pairs, write):
    pairs({"x/1": [[0, 1]], "y/1": [[1, 0]]}, images="left", folder="gt", ending="_labels")
    deep = open_dataset(write("classes: [a, b]\nsplits: {train: {images: left/*/*.jpg, masks: gt/*/*.png}}\n"))
    assert sorted(one.name for one in deep.split("all")) == ["x__1", "y__1"]
    flat = open_dataset(write("classes: [a, b]\nsplits: {val: {images: left/x, masks: gt/x/}}\n"))
    assert [one.name for one in flat.split("val")] == ["1"]


def test_a_third_split_name(pairs, write):
    pairs({"1": [[0, 1]]}, images="night", folder="nightmasks")
    data = open_dataset(write("classes: [a, b]\nsplits: {night: {images: night/*, masks: nightmasks/*}}\n"))
    assert list(data.splits) == ["night"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clases: [a, b]", "'clases'. Did you mean 'classes'"),
        ("masks: {encodin: rgb}", "'masks.encodin'. Did you mean 'encoding'"),
        ("splits: {train: {image: a, masks: b}}", "Did you mean 'images'"),
        ("modalities: {depth: {path: a, units: m}}", "Did you mean 'unit'"),
        ("modalities: {depth: {path: a, scale: 0}}", "modalities.depth.scale"),
        ("masks: {encoding: jpeg}", "masks.encoding"),
        ("masks: {palette: {a: [1, 2]}}", "masks.palette"),
        ("masks: {palette: {a: [1, 2, 256]}}", "masks.palette"),
        ("classes: []", "classes"),
        ("classes: [yes, no]", "classes"),
        ("classes: [a, a]", "'a' twice"),
        ("classes: [a, b]\nignore: 1", "1, which is the class 'b'"),
        ("classes: [a, b]\nmasks: {palette: {c: [1, 2, 3]}}", "masks.palette"),
        ("classes: [a, b]\nmasks: {encoding: rgb, palette: {a: [1, 2, 3]}}", "none for b"),
        ("classes: [a, b]\nmasks: {encoding: rgb, palette: {a: [1, 2, 3], b: [1, 2, 3]}}", "for two"),
        ("classes: [a, b, c]\nmasks: {encoding: binary}", "two classes"),
        ("masks: {encoding: binary}", "List the classes"),
        ("root: nowhere", "root"),
        ("splits: {train: {images: 'images/*.tif', masks: 'masks/*'}}", "no file"),
        ("splits: {train: {images: '/images/*.jpg', masks: 'masks/*'}}", "relative to root"),
        ("splits: {a/b: {images: 'images/*', masks: 'masks/*'}}", "slashes"),
        ("- a\n- b", "keys and values"),
        ("classes: [a", "readable YAML"),
    ],
)
def test_what_is_wrong_is_named(pairs, write, text, said):
    pairs({"p": [[0, 1]], "q": [[1, 2]]})
    with pytest.raises(DataError) as caught:
        open_dataset(write(text))
    assert said in str(caught.value)


def test_more_classes_than_255_move_the_ignore_index(pairs, write):
    pairs({"p": [[0, 299]], "q": [[65535, 2]]}, dtype=np.uint16)
    data = open_dataset(write(f"classes: {[f'c{i}' for i in range(300)]}\n"))
    assert data.ignore_index == 65535
    assert data.read_mask(data.split("all")[0]).dtype == np.uint16
