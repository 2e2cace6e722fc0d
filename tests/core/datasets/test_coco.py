from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from segx_core.datasets import open_dataset
from segx_core.errors import DataError

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
LARGE, SMALL = [0, 0, 6, 0, 6, 4, 0, 4], [1, 1, 3, 1, 3, 3, 1, 3]
CROWD = {"size": [4, 8], "counts": [0, 32]}


def annotation(picture, category, segmentation, crowd=0):
    return {"image_id": picture, "category_id": category, "segmentation": segmentation, "iscrowd": crowd}


@pytest.fixture
def write(tmp_path, save, monkeypatch):
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path / "cache"))

    def _write(place, pictures="train2017", objects=None, names=("a.jpg", "b.jpg"), categories=CATEGORIES):
        root = tmp_path / "data"
        for seed, name in enumerate(names):
            rng = np.random.default_rng(seed)
            save(root / pictures / name, rng.integers(0, 256, (4, 8, 3), dtype=np.uint8))
        if objects is None:
            # The small one comes first in the file and must be seen all the same.
            objects = [annotation(1, 3, [SMALL]), annotation(1, 7, [LARGE]), annotation(2, 7, CROWD, 1),
                       annotation(2, 3, [SMALL])]  # fmt: skip
        images = [{"id": i + 1, "file_name": name, "height": 4, "width": 8} for i, name in enumerate(names)]
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": objects, "categories": categories}))
        return root

    return _write


FIRST = [[2] * 6 + [0] * 2, [2, 1, 1, 2, 2, 2, 0, 0], [2, 1, 1, 2, 2, 2, 0, 0], [2] * 6 + [0] * 2]
SECOND = [[2] * 8, [2, 1, 1, 2, 2, 2, 2, 2], [2, 1, 1, 2, 2, 2, 2, 2], [2] * 8]


def maps(data):
    return [data.read(sample)[1].tolist() for sample in data.split("all")]


@pytest.mark.parametrize(
    ("place", "pictures"),
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017"),
        ("annotations/instances_default.json", "images"),
        ("annotations/train.json", "images/train"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_the_usual_places(write, place, pictures):
    data = open_dataset(write(place, pictures))
    assert data.layout == "coco"
    assert data.classes == ("background", "cat", "dog")
    assert sorted(maps(data)) == sorted([FIRST, SECOND])
    assert set(data.splits) == {"train", "val"}


def test_splits_and_other_files_of_the_archive(write):
    root = write("annotations/instances_train2017.json")
    write("annotations/instances_val2017.json", "val2017", names=("c.jpg",))
    (root / "annotations" / "captions_train2017.json").write_text("{}")
    data = open_dataset(root)
    assert {split: [one.name for one in part] for split, part in data.splits.items()} == {
        "train": ["a", "b"],
        "val": ["c"],
    }


def test_masks_are_drawn_once_and_outside_the_data(write, tmp_path):
    root = write("train/_annotations.coco.json", "train")
    before = sorted(root.rglob("*"))
    first = open_dataset(root)
    drawn = {sample.mask: sample.mask.stat().st_mtime_ns for sample in first.split("all")}
    again = open_dataset(root)
    assert {sample.mask: sample.mask.stat().st_mtime_ns for sample in again.split("all")} == drawn
    assert sorted(root.rglob("*")) == before
    write("train/_annotations.coco.json", "train", objects=[])
    assert open_dataset(root).split("all")[0].mask not in drawn


def test_a_moved_copy_and_another_cache_have_the_same_fingerprint(write, tmp_path, monkeypatch):
    root = write("train/_annotations.coco.json", "train")
    first = open_dataset(root).fingerprint()
    shutil.move(root, tmp_path / "far" / "away" / "data")
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path / "other" / "cache"))
    assert open_dataset(tmp_path / "far" / "away" / "data").fingerprint() == first


def test_a_yaml_chooses_and_orders_classes(write):
    root = write("notes/all.json", "photos")
    splits = "masks: {encoding: coco}\nsplits: {train: {images: photos/*.jpg, masks: notes/all.json}}\n"
    (root / "dataset.yaml").write_text("classes: [dog, cat]\n" + splits)
    data = open_dataset(root)
    assert data.classes == ("dog", "cat")
    assert max(maps(data))[0] == [0] * 6 + [255] * 2
    assert any("ignored" in note for note in data.notes)
    (root / "dataset.yaml").write_text("classes: [background, dog]\nignore: 9\n" + splits)
    data = open_dataset(root)
    assert data.ignore_index == 9
    assert min(maps(data)) == [[1] * 6 + [0] * 2] * 4


def test_a_yaml_without_splits_finds_the_usual_places(write):
    root = write("train/_annotations.coco.json", "train")
    (root / "dataset.yaml").write_text("classes: [background, dog]\nmasks: {palette: {dog: [1, 2, 3]}}\n")
    data = open_dataset(root)
    assert data.palette[1] == (1, 2, 3)
    assert {value for one in maps(data) for row in one for value in row} == {0, 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"objects": [annotation(1, 3, [[0, 0, 1, 1]])]}, "at least 3 points for a.jpg"),
        ({"objects": [annotation(1, 9, [SMALL])]}, "category_id 9"),
        ({"categories": [], "objects": []}, "none"),
        ({"categories": [*CATEGORIES, {"id": 9, "name": "cat"}]}, "'cat' twice"),
        ({"categories": [{"id": 1}]}, "a COCO file"),
    ],
)
def test_files_that_make_no_sense_are_refused(write, change, said):
    root = write("train/_annotations.coco.json", "train", **change)
    with pytest.raises(DataError) as caught:
        open_dataset(root)
    assert said in str(caught.value)


def test_pictures_that_are_not_there_and_classes_that_are_none(write):
    root = write("train/_annotations.coco.json", "train")
    (root / "train" / "b.jpg").unlink()
    with pytest.raises(DataError, match=r"1 that are not there \(b\.jpg\)"):
        open_dataset(root)
    write("train/_annotations.coco.json", "train")
    (root / "dataset.yaml").write_text("classes: [dogs]\nmasks: {encoding: coco}\n")
    with pytest.raises(DataError, match="Did you mean 'dog'"):
        open_dataset(root)
    write("annotations/instances_val.json", "val", categories=[{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}])
    (root / "dataset.yaml").unlink()
    with pytest.raises(DataError, match="Make the lists equal"):
        open_dataset(root)


def test_the_yaml_says_coco_and_there_is_none(pairs):
    root = pairs({"a": [[0, 1]], "b": [[1, 0]]})
    (root / "dataset.yaml").write_text("masks: {encoding: coco}\n")
    with pytest.raises(DataError, match=r"where masks\.encoding is 'coco'"):
        open_dataset(root)
    (root / "dataset.yaml").write_text("masks: {encoding: coco}\nsplits: {train: {images: images/*, masks: no.json}}\n")
    with pytest.raises(DataError, match=r"to be a COCO file, got no\.json"):
        open_dataset(root)
