"""Multilabel masks: folders and bit fields give the same targets, and what makes no sense is refused with its cure."""

from __future__ import annotations

import numpy as np
import pytest

from segx_core.datasets import multilabel, open_dataset
from segx_core.errors import DataError

CLASSES = ("tree", "shade")
TREE = np.array([[255, 0, 255], [0, 0, 255]], np.uint8)
SHADE = np.array([[255, 255, 0], [0, 0, 255]], np.uint8)
IGNORED = np.array([[0, 0, 0], [0, 0, 255]], np.uint8)
FIELDS = np.array([[3, 2, 1], [0, 0, 4]], np.uint8)


@pytest.fixture
def folder(save, tmp_path):
    """A folder with masks of both classes and an ignored pixel."""
    home = tmp_path / "p"
    home.mkdir()
    for name, mask in (("tree", TREE), ("shade", SHADE), ("ignore", IGNORED)):
        save(home / f"{name}.png", mask)
    return home


def test_a_folder_of_masks_becomes_bit_fields(folder):
    found = multilabel.read(folder, CLASSES, 4)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, FIELDS)


def test_a_class_without_a_file_is_nowhere(folder):
    (folder / "shade.png").unlink()
    (folder / ".hidden.png").write_bytes(b"")
    np.testing.assert_array_equal(multilabel.read(folder, CLASSES, 4), [[1, 0, 1], [0, 0, 4]])


@pytest.mark.parametrize("white", [1, 255])
def test_white_is_one_or_the_highest_value(save, tmp_path, white):
    save(tmp_path / "tree.png", np.array([[0, white]], np.uint8))
    np.testing.assert_array_equal(multilabel.read(tmp_path, CLASSES, 4), [[0, 1]])


def test_bit_fields_ignore_whatever_else_an_ignored_pixel_holds(save, tmp_path):
    path = save(tmp_path / "m.png", np.array([[3, 2, 1], [0, 0, 7]], np.uint8))
    np.testing.assert_array_equal(multilabel.read(path, CLASSES, 4), FIELDS)


@pytest.mark.parametrize(("count", "kind"), [(7, np.uint8), (8, np.uint16), (15, np.uint16), (16, np.uint32)])
def test_targets_are_as_narrow_as_the_ignored_bit_allows(save, tmp_path, count, kind):
    stored = np.array([[(1 << count) - 1, 0]], np.uint16)
    classes = tuple(f"c{index}" for index in range(count))
    found = multilabel.read(save(tmp_path / "m.png", stored), classes, 1 << count)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, stored)


def test_sixteen_labels_have_room_for_ignored_pixels(save, tmp_path):
    home = tmp_path / "p"
    home.mkdir()
    save(home / "c15.png", np.array([[255, 0]], np.uint8))
    save(home / "ignore.png", np.array([[0, 255]], np.uint8))
    found = multilabel.read(home, tuple(f"c{index}" for index in range(16)), 1 << 16)
    assert found.tolist() == [[1 << 15, 1 << 16]]


def test_a_wrong_name_is_refused_with_the_near_one(folder, save):
    save(folder / "trees.png", TREE)
    with pytest.raises(DataError, match=r"trees\.png.*'tree'"):
        multilabel.read(folder, CLASSES, 4)


def test_grey_masks_are_refused(folder, save):
    save(folder / "tree.png", TREE // 2)
    with pytest.raises(DataError, match=r"127 on 3 pixels of .*tree\.png.*threshold"):
        multilabel.read(folder, CLASSES, 4)


def test_coloured_masks_are_refused(folder, save):
    colour = np.zeros((2, 3, 3), np.uint8)
    colour[..., 0] = 255
    path = save(folder / "tree.png", colour)
    with pytest.raises(DataError, match=r"black-and-white masks, one channel"):
        multilabel.read(folder, CLASSES, 4)
    with pytest.raises(DataError, match=r"multilabel masks as bit fields"):
        multilabel.read(path, CLASSES, 4)


def test_masks_of_other_sizes_and_empty_folders_are_refused(folder, save, tmp_path):
    save(folder / "tree.png", TREE[:1])
    with pytest.raises(DataError, match=r"masks of one size"):
        multilabel.read(folder, CLASSES, 4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"needs one black mask"):
        multilabel.read(tmp_path / "empty", CLASSES, 4)
    save(folder / "tree.bmp", TREE)
    with pytest.raises(DataError, match=r"tree\.bmp and tree\.png"):
        multilabel.read(folder, CLASSES, 4)


def test_bits_of_no_class_are_refused(save, tmp_path):
    path = save(tmp_path / "m.png", np.array([[8, 1]], np.uint8))
    with pytest.raises(DataError, match=r"below 8.*8 on 1 pixels"):
        multilabel.read(path, CLASSES, 4)


# ---- as a data set


def test_both_ways_to_store_them_are_one_data_set(tmp_path, draw_overlapping):
    folders = open_dataset(draw_overlapping(tmp_path / "folders", 5))
    fields = open_dataset(draw_overlapping(tmp_path / "fields", 5, fields=True))
    assert folders.task == fields.task == "multilabel"
    assert folders.ignore_index == 8
    assert folders.classes == ("shape", "square", "disc")
    assert [one.name for one in folders.split("all")] == [one.name for one in fields.split("all")]
    for one, other in zip(folders.split("all"), fields.split("all"), strict=True):
        (image, target), (_, same) = folders.read(one), fields.read(other)
        assert image.shape[:2] == target.shape
        assert (target[:4] == 8).all()
        np.testing.assert_array_equal(target, same)


def test_splits_lie_above_or_below_or_are_named(tmp_path, draw_overlapping):
    whole = draw_overlapping(tmp_path / "whole", 4)
    nested = tmp_path / "nested"
    for split in ("train", "val"):
        draw_overlapping(nested / split, 3)
        (nested / split / "dataset.yaml").unlink()
    text = (whole / "dataset.yaml").read_text()
    (nested / "dataset.yaml").write_text(text)
    assert {name: len(found) for name, found in open_dataset(nested).splits.items()} == {"train": 3, "val": 3}
    for masks in ("masks", "masks/"):
        named = f"splits:\n  train: {{images: images, masks: {masks}}}\n  val: {{images: images, masks: {masks}}}\n"
        (whole / "dataset.yaml").write_text(text + named)
        assert len(open_dataset(whole).split("val")) == 4


def test_globs_of_bit_fields(tmp_path, draw_overlapping):
    root = draw_overlapping(tmp_path / "d", 4, fields=True)
    text = (root / "dataset.yaml").read_text()
    (root / "dataset.yaml").write_text(text + "splits:\n  train: {images: images/*.png, masks: masks/*.png}\n")
    assert len(open_dataset(root).split("all")) == 4


def test_a_changed_mask_changes_the_fingerprint(tmp_path, draw_overlapping, save):
    root = draw_overlapping(tmp_path / "d", 3)
    before = open_dataset(root).fingerprint()
    assert open_dataset(root).fingerprint() == before
    save(root / "masks" / "p00" / "disc.png", np.zeros((64, 80), np.uint8))
    assert open_dataset(root).fingerprint() != before


def test_pictures_without_masks_and_masks_without_pictures_are_told(tmp_path, draw_overlapping):
    root = draw_overlapping(tmp_path / "d", 3)
    (root / "masks" / "p01").rename(root / "masks" / "q01")
    with pytest.raises(DataError, match=r"1 pictures of .* \(p01\) and 1 folders of .* \(q01\)"):
        open_dataset(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("masks: {encoding: multilabel}", "classes in .* none"),
        ("classes: [a, b]\nignore: 255\nmasks: {encoding: multilabel}", "no `ignore`.*bit 2"),
        ("classes: [a, ignore]\nmasks: {encoding: multilabel}", "other than 'ignore'"),
        ("classes: [a, b/c]\nmasks: {encoding: multilabel}", "names of files"),
        ("classes: [a, a]\nmasks: {encoding: multilabel}", "'a' twice"),
        (f"classes: [{', '.join(f'c{i}' for i in range(17))}]\nmasks: {{encoding: multilabel}}", "at most 16 .* 17"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(tmp_path, draw_overlapping, text, message):
    root = draw_overlapping(tmp_path / "d", 2)
    (root / "dataset.yaml").write_text(text + "\n")
    with pytest.raises(DataError, match=message):
        open_dataset(root)


def test_colours_can_be_chosen(tmp_path, draw_overlapping):
    root = draw_overlapping(tmp_path / "d", 2)
    (root / "dataset.yaml").write_text(
        "classes: [shape, square, disc]\nmasks: {encoding: multilabel, palette: {disc: [1, 2, 3]}}\n"
    )
    assert open_dataset(root).palette[2] == (1, 2, 3)


def test_a_folder_without_pictures_and_masks_is_refused(tmp_path):
    (tmp_path / "dataset.yaml").write_text("classes: [a]\nmasks: {encoding: multilabel}\n")
    with pytest.raises(DataError, match=r"where masks.encoding is 'multilabel'"):
        open_dataset(tmp_path)


def test_without_a_description_the_folders_are_recognised_and_the_way_is_told(tmp_path, draw_overlapping):
    root = draw_overlapping(tmp_path / "d", 2)
    (root / "dataset.yaml").unlink()
    with pytest.raises(DataError, match=r"masks: {encoding: multilabel}"):
        open_dataset(root)
