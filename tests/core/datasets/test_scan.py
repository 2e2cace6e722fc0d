from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segx_core.datasets import open_dataset
from segx_core.datasets.scan import PLACES, count, gather, scan
from segx_core.errors import DataError


@pytest.fixture
def data(pairs, tmp_path, monkeypatch):
    """Three training pictures of different sizes, class 2 in one of them, class 3 nowhere; a cache of its own."""
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    masks = {"a": [[0, 1, 255], [0, 0, 1]], "b": [[0, 0]], "c": [[2, 2, 255, 0]]}
    pairs(masks, images="train/images", folder="train/masks", root=root)
    pairs({"d": [[255, 255]]}, images="val/images", folder="val/masks", root=root)
    (root / "dataset.yaml").write_text("classes: [w, x, y, z]\nmasks: {encoding: index}\n")
    return open_dataset(root)


def kept(tmp_path):
    return sorted((tmp_path / "cache" / "scans").glob("*"))


def test_what_stands_in_the_masks_is_counted(data):
    seen = scan(data, "train")
    assert seen.class_pixels.tolist() == [6, 2, 2, 0]
    assert seen.class_pictures.tolist() == [3, 1, 1, 0]
    assert seen.ignored.tolist() == [1, 0, 1]
    assert seen.labelled.tolist() == [5, 2, 3]
    assert seen.sizes.tolist() == [[2, 3], [1, 2], [1, 4]]
    assert seen.pixels_beside.tolist() == [10, 5, 3, 0]
    np.testing.assert_allclose(seen.shares, [0.6, 0.2, 0.2, 0])
    assert seen.class_pixels.dtype == seen.class_pictures.dtype == np.int64


def test_a_split_without_a_labelled_pixel_has_shares_of_zero(data):
    assert scan(data, "val").shares.tolist() == [0, 0, 0, 0]


def test_the_second_scan_is_remembered_and_the_data_folder_left_alone(data, tmp_path, monkeypatch):
    before = sorted(path for path in data.root.rglob("*"))
    first = scan(data, "train")
    assert len(kept(tmp_path)) == 1
    assert sorted(path for path in data.root.rglob("*")) == before
    monkeypatch.setattr(type(data), "read_mask", None)  # reading again would break
    again = scan(data, "train")
    for name in ("rows", "classes", "pixels", "places", "ignored", "sizes"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_a_mask_that_is_corrected_is_counted_anew(data, save):
    scan(data, "train")
    path = data.split("train")[1].mask
    stat = path.stat()
    save(path, np.array([[3, 3]], np.uint8))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert scan(data, "train").class_pixels.tolist() == [4, 2, 2, 2]


def test_a_damaged_count_is_made_anew(data, tmp_path):
    first = scan(data, "train")
    (path,) = kept(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    assert scan(data, "train").class_pixels.tolist() == first.class_pixels.tolist()
    assert path.stat().st_size > 100


def test_a_cache_that_cannot_be_written_stops_nothing(data, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path / "file"))
    assert scan(data, "train").class_pixels.sum() == 10


def test_masks_that_make_no_sense_are_named(data, save):
    save(data.split("train")[2].mask, np.array([[9]], np.uint8))
    with pytest.raises(DataError, match=r"9 on 1 pixels of .*c\.png"):
        scan(data, "train")


def test_pixels_with_several_classes_count_for_each(draw_overlapping, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path / "cache"))
    data = open_dataset(draw_overlapping(tmp_path / "several", 3))
    seen = scan(data, "train")
    maps = np.stack([data.read_mask(sample) for sample in data.split("train")]).astype(int)
    assert seen.class_pixels.tolist() == [int(((maps >> bit) & 1).sum()) for bit in range(3)]
    assert seen.ignored.tolist() == (maps == 8).sum(axis=(1, 2)).tolist()
    np.testing.assert_allclose(seen.shares, seen.class_pixels / (maps != 8).sum())
    for row, label, places in zip(seen.rows, seen.classes, seen.places, strict=True):
        assert (maps[row][places[:, 0], places[:, 1]] >> label & 1).all()


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 4, 9])))
@settings(max_examples=50)
def test_counts_are_those_of_a_plain_loop(mask):
    class Data:
        classes, ignore_index, task = tuple("vwxyz"), 9, "multiclass"

    found = count(mask, Data)
    expected = {value: int((mask == value).sum()) for value in range(5) if (mask == value).any()}
    assert dict(zip(found.classes.tolist(), found.pixels.tolist(), strict=True)) == expected
    assert found.ignored == (mask == 9).sum()
    assert found.size == mask.shape
    assert found.places.shape == (len(expected), PLACES, 2)
    for value, places in zip(found.classes, found.places, strict=True):
        assert (mask[places[:, 0], places[:, 1]] == value).all()
        assert len({tuple(place) for place in places.tolist()}) >= min(PLACES, expected[int(value)]) / 2


def test_the_sum_of_nothing_is_nothing():
    empty = gather([], 3)
    assert len(empty) == 0
    assert empty.class_pixels.tolist() == empty.class_pictures.tolist() == [0, 0, 0]
