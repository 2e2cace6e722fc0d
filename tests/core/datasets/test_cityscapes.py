from __future__ import annotations

import numpy as np
import pytest

from segx_core.datasets import cityscapes, open_dataset
from segx_core.errors import DataError

IDS = [[7, 8, 33, 0, 255, 23, 24, 4]]
TRAIN_IDS = [[0, 1, 18, 255, 255, 10, 11, 255]]


@pytest.fixture
def write(tmp_path, save):
    def _write(kind, masks, truth="gtFine", splits=("train", "val")):
        for split in splits:
            for number in range(2):
                stem = f"ulm_{number:06}_000019"
                save(
                    tmp_path / "leftImg8bit" / split / "ulm" / f"{stem}_leftImg8bit.png", np.zeros((1, 8, 3), np.uint8)
                )
                save(tmp_path / truth / split / "ulm" / f"{stem}_{truth}_{kind}.png", np.array(masks, np.uint8))
                save(tmp_path / truth / split / "ulm" / f"{stem}_{truth}_instanceIds.png", np.zeros((1, 8), np.uint8))
        return tmp_path

    return _write


@pytest.mark.parametrize("truth", ["gtFine", "gtCoarse"])
@pytest.mark.parametrize(("kind", "stored"), [("labelIds", IDS), ("labelTrainIds", TRAIN_IDS)])
def test_both_kinds_of_masks_mean_the_same(write, kind, stored, truth):
    data = open_dataset(write(kind, stored, truth))
    assert data.layout == "cityscapes"
    assert len(data.classes) == len(data.palette) == 19
    assert data.classes[13] == "car"
    assert data.palette[13] == (0, 0, 142)
    assert [sample.name for sample in data.split("val")] == ["ulm_000000_000019", "ulm_000001_000019"]
    np.testing.assert_array_equal(data.read(data.split("train")[0])[1], TRAIN_IDS)


def test_train_ids_win_where_both_are(write):
    write("labelIds", IDS)
    assert open_dataset(write("labelTrainIds", TRAIN_IDS)).encoding.kind == "index"


def test_a_test_split_without_labels_is_left_out(write):
    write("labelIds", IDS)
    data = open_dataset(write("labelIds", [[0, 1, 2, 3, 0, 0, 0, 0]], splits=("test",)))
    assert set(data.splits) == {"train", "val"}
    assert any("test split has no labels" in note for note in data.notes)


def test_what_is_missing_is_named(write, tmp_path):
    root = write("labelIds", IDS)
    next((root / "gtFine" / "val").rglob("*labelIds.png")).unlink()
    with pytest.raises(DataError, match="1 pictures without one"):
        open_dataset(root)
    for path in (root / "gtFine").rglob("*labelIds.png"):
        path.unlink()
    with pytest.raises(DataError, match="_labelTrainIds"):
        open_dataset(root)


def test_other_folders_are_not_cityscapes(tmp_path):
    assert cityscapes.look(tmp_path) is None
