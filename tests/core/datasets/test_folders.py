from __future__ import annotations

import pytest

from segx_core.datasets import folders
from segx_core.errors import DataError

ONE = {"a": [[0, 1]]}


def test_flat(pairs):
    layout = folders.look(pairs({"a": [[0, 1]], "b": [[1, 0]]}))
    assert layout.name == "images+masks"
    assert [sample.name for sample in layout.splits["train"]] == ["a", "b"]


@pytest.mark.parametrize("pattern", ["{split}/{kind}", "{kind}/{split}"])
def test_split_folders_above_or_below(pairs, tmp_path, pattern):
    for split in ("train", "val", "test"):
        images, masks = (pattern.format(split=split, kind=kind) for kind in ("images", "masks"))
        pairs({f"{split}1": [[0, 1]]}, images=images, folder=masks)
    layout = folders.look(tmp_path)
    assert {name: [one.name for one in part] for name, part in layout.splits.items()} == {
        "train": ["train1"],
        "val": ["val1"],
        "test": ["test1"],
    }


def test_other_spellings(pairs, tmp_path):
    pairs(ONE, images="Training/Imgs", folder="Training/labels")
    pairs(ONE, images="valid/images", folder="valid/annotations")
    assert list(folders.look(tmp_path).splits) == ["train", "val"]


def test_a_split_without_masks_is_left_out_and_said(pairs, tmp_path):
    pairs(ONE, images="images/train", folder="masks/train")
    (tmp_path / "images" / "test").mkdir()
    layout = folders.look(tmp_path)
    assert list(layout.splits) == ["train"]
    assert "images/test has no masks" in layout.notes[0]


def test_other_folders_are_not_this_layout(pairs, tmp_path):
    assert folders.look(tmp_path) is None
    pairs(ONE, images="left", folder="masks")
    assert folders.look(tmp_path) is None


def test_a_missing_mask_is_an_error(pairs):
    root = pairs({"a": [[0, 1]], "b": [[0, 1]]})
    (root / "masks" / "b.png").unlink()
    with pytest.raises(DataError, match=r"without a mask in .*masks \(b\.jpg\)"):
        folders.look(root)
