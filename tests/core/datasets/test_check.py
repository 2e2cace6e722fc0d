from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance

from segx_core.datasets import open_dataset
from segx_core.datasets.check import check, divergence


@pytest.fixture
def make(pairs, tmp_path):
    """make(train, val, yaml) -> the folder of a data set of two classes and more."""

    def _make(train, val, text="classes: [road, car, pole]\nmasks: {encoding: index}\n"):
        pairs(train, images="train/images", folder="train/masks")
        if val:
            pairs(val, images="val/images", folder="val/masks")
        (tmp_path / "dataset.yaml").write_text(text)
        return tmp_path

    return _make


GOOD = [[0, 0, 1, 2]] * 4


def told(checked, level):
    return [(one.kind, one.message) for one in checked.findings if one.level == level]


def test_good_data_have_nothing_wrong(make, save):
    root = make({"a": GOOD, "b": GOOD}, {"c": GOOD})
    save(root / "val" / "images" / "c.jpg", np.full((4, 4, 3), 90, np.uint8))
    checked = check(open_dataset(root))
    assert checked.findings == ()
    assert checked.usable
    assert checked.shift == 0
    assert checked.scans["train"].class_pixels.tolist() == [16, 8, 8]


def test_each_file_that_is_wrong_is_named(make, save):
    root = make(
        {"ok": GOOD, "id": [[0, 9]], "gone": GOOD, "cut": GOOD, "small": [[0, 1, 1]], "turned": [[0, 1, 2, 0]]},
        {"ok2": GOOD},
    )
    data = open_dataset(root)
    images, masks = root / "train" / "images", root / "train" / "masks"
    (images / "gone.jpg").write_bytes(b"no picture")
    (masks / "cut.png").write_bytes((masks / "cut.png").read_bytes()[:40])
    save(images / "small.jpg", np.zeros((4, 4, 3), np.uint8))
    save(images / "turned.jpg", np.zeros((4, 1, 3), np.uint8))
    checked = check(data)
    assert not checked.usable
    errors = {Path(one.files[0]).stem: one for one in checked.findings if one.level == "error"}
    assert {name: one.kind for name, one in errors.items()} == {
        "id": "mask", "gone": "picture", "cut": "mask", "small": "size", "turned": "size",
    }  # fmt: skip
    assert "9 on 1 pixels" in errors["id"].message
    assert "has 1x3 pixels (height x width), its picture 4x4." in errors["small"].message
    assert "turned by a quarter" in errors["turned"].message
    assert checked.scans["train"].class_pixels.sum() == 32  # of "ok" and "gone", whose masks can be read


def test_masks_of_0_and_255_that_were_declared_as_indices(make):
    text = "classes: [ground, crack]\nmasks: {encoding: index}\n"
    ((kind, message),) = told(check(open_dataset(make({"a": [[0, 255]]}, {"b": [[0, 255]]}, text))), "error")
    assert kind == "labels"
    assert "masks: {encoding: binary}" in message


def test_nothing_labelled(make):
    checked = check(open_dataset(make({"a": GOOD}, {"b": [[255, 255]]})))
    assert told(checked, "error") == [("labels", "In val no pixel is labelled.")]
    assert checked.shift is None


def test_blank_masks_and_absent_classes_are_warnings(make):
    root = make({"a": [[0, 1]], "b": [[255, 255]]}, {"c": [[0, 2]]})
    checked = check(open_dataset(root))
    assert checked.usable
    warnings = dict.fromkeys(kind for kind, _ in told(checked, "warning"))
    assert list(warnings) == ["blank", "absent", "copies", "shift"]
    texts = " ".join(message for _, message in told(checked, "warning"))
    assert "1 masks of train hold ignored pixels only" in texts
    assert "do not occur in train, so that they cannot be learnt: pole" in texts
    assert "do not occur in val, so that they cannot be scored: car" in texts


def test_copies_are_found_by_their_pixels(make, save):
    noise = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    root = make({"a": GOOD, "b": GOOD, "c": GOOD}, {"d": GOOD})
    for path in ("train/images/a.png", "val/images/d.bmp"):
        save(root / path, noise)
    for path in ("train/images/a.jpg", "val/images/d.jpg"):
        (root / path).unlink()
    shutil.copy(root / "train/images/b.jpg", root / "train/images/c.jpg")
    checked = check(open_dataset(root))
    across, within = [one for one in checked.findings if one.kind == "copies"]
    assert sorted(Path(path).name for path in across.files) == ["a.png", "d.bmp"]
    assert "the score flatters" in across.message
    assert sorted(Path(path).name for path in within.files) == ["b.jpg", "c.jpg"]
    assert checked.usable


def test_classes_that_shift_are_named(make):
    root = make({"a": [[0] * 9 + [1, 2, 2]]}, {"b": [[0] * 4 + [1] * 6 + [2, 2]]})
    checked = check(open_dataset(root))
    messages = [message for kind, message in told(checked, "warning") if kind == "shift"]
    assert len(messages) == 2
    assert "car (8.33% in train, 50.00% in val)" in messages[1]
    assert "pole" not in messages[1]


def test_splits_that_are_missing(make, tmp_path):
    root = make({"a": GOOD}, {})
    assert [kind for kind, _ in told(check(open_dataset(root)), "error")] == ["split"]


def test_multilabel_data(draw_overlapping, tmp_path):
    checked = check(open_dataset(draw_overlapping(tmp_path / "data", 5)))
    assert checked.usable
    assert (checked.scans["train"].class_pixels > 0).all()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=6))
@settings(max_examples=60)
def test_divergence_is_the_square_of_scipys_distance(counts):
    one, other = (np.array(part, np.int64) for part in zip(*counts, strict=True))
    found = divergence(one, other)
    if not one.sum() or not other.sum():
        assert found is None
    else:
        assert found == pytest.approx(distance.jensenshannon(one, other, base=2) ** 2, abs=1e-7)
