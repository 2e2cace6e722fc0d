from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from segx_core.datasets import open_dataset
from segx_core.errors import DataError

MASKS = {name: [[0, 255], [255, 0]] for name in "abcde"}


def test_a_plain_folder_with_binary_masks(pairs):
    root = pairs(MASKS)
    data = open_dataset(str(root))
    assert data.layout == "images+masks"
    assert data.source == str(root)
    assert data.classes == ("background", "foreground")
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 4, "val": 1}
    assert any("0/255" in note for note in data.notes)
    assert any("No val split" in note for note in data.notes)
    image, mask = data.read(data.split("val")[0])
    assert image.shape == (2, 2, 3)
    assert image.dtype == mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[0, 1], [1, 0]])


def test_a_classes_file_beside_the_folders(pairs):
    root = pairs({"a": [[0, 1]], "b": [[1, 255]]})
    (root / "classes.txt").write_text("sky\nroad\nrock\n")
    data = open_dataset(root)
    assert data.classes == ("sky", "road", "rock")
    assert not data.inferred


def test_a_folder_with_dataset_yaml_uses_it(pairs):
    root = pairs(MASKS)
    (root / "dataset.yaml").write_text("classes: [ground, cat]\n")
    assert open_dataset(root).classes == ("ground", "cat")
    assert open_dataset(root / "dataset.yaml").classes == ("ground", "cat")


def test_an_unknown_layout_says_what_is_known_and_what_was_found(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "note.txt").touch()
    (tmp_path / ".DS_Store").touch()
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    text = str(caught.value)
    assert "images/ + masks/" in text
    assert "CamVid" in text
    assert "VOC" in text
    assert "a folder holding note.txt, pictures/." in text


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="an empty folder"):
        open_dataset(tmp_path)
    (tmp_path / "camvid").mkdir()
    with pytest.raises(DataError, match="Did you mean 'camvid'"):
        open_dataset(tmp_path / "camvit")
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match="Name its folder"):
        open_dataset(tmp_path / "a.txt")


def test_empty_image_and_mask_folders(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="pictures and masks, got none"):
        open_dataset(tmp_path)


def test_scenes_is_read_like_any_other(pairs, tmp_path, monkeypatch):
    """Points the cache at a folder as `scenes` makes it, so that nothing has to be generated."""
    from segx_core.datasets import scenes

    made = tmp_path / "cache"
    for split in ("train", "val", "test"):
        pairs({f"{split}_0": [[0, 1]]}, images=f"{split}/images", folder=f"{split}/masks", root=made)
    (made / "dataset.yaml").write_text("classes: [sky, hill]\n")
    monkeypatch.setattr(scenes, "ensure_scenes", lambda: made)
    data = open_dataset("scenes")
    assert (data.source, data.layout, data.classes) == ("scenes", "scenes", ("sky", "hill"))
    assert list(data.splits) == ["train", "val", "test"]


def test_a_relative_and_a_moved_folder_are_the_same_data(pairs, tmp_path, monkeypatch):
    root = pairs(MASKS, root=tmp_path / "here")
    before = open_dataset(root).fingerprint()
    shutil.copytree(root, tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    data = open_dataset("there")
    assert data.fingerprint() == before
    assert data.root == (tmp_path / "there")
    assert open_dataset(Path("./there/")).fingerprint() == before
