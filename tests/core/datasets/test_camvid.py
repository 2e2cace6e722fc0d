from __future__ import annotations

import numpy as np
import pytest

from segx_core.datasets import camvid, open_dataset
from segx_core.errors import DataError


@pytest.fixture
def write(pairs, tmp_path):
    def _write(names, values, splits=("train", "val")):
        for split in splits:
            pairs(dict.fromkeys(names, values), images=split, folder=f"{split}annot")
        return tmp_path

    return _write


def test_camvids_own_pictures_bring_eleven_classes(write):
    data = open_dataset(write(["0001TP_006690", "Seq05VD_f00000"], [[0, 11, 3]], ("train", "val", "test")))
    assert data.layout == "camvid"
    assert len(data.classes) == len(data.palette) == 11
    assert data.classes[8] == "car"
    assert data.ignore_index == 11
    assert list(data.splits) == ["train", "val", "test"]
    assert not data.inferred
    np.testing.assert_array_equal(data.read(data.split("val")[0])[1], [[0, 11, 3]])


def test_other_pictures_in_that_layout_keep_their_own_classes(write):
    data = open_dataset(write(["street_1"], [[0, 1, 2]]))
    assert data.layout == "camvid"
    assert data.classes == ("class_0", "class_1", "class_2")


def test_camvid_in_colours_is_not_taken_for_indices(write):
    data = open_dataset(write(["0001TP_006690_L"], [[[0, 0, 0], [128, 64, 128]]]))
    assert data.classes == ("color_000000", "color_804080")


def test_a_label_beyond_the_eleven_is_found_when_read(write, save):
    root = write(["0001TP_1", "0001TP_2"], [[0, 11]])
    data = open_dataset(root)
    save(root / "trainannot" / "0001TP_2.png", np.array([[12, 0]], dtype=np.uint8))
    with pytest.raises(DataError, match="12 on 1 pixels"):
        data.read(data.split("train")[1])


def test_without_val_a_fifth_is_held_out(write):
    data = open_dataset(write([f"0001TP_{i}" for i in range(10)], [[0, 11]], ("train",)))
    assert (len(data.split("train")), len(data.split("val"))) == (8, 2)


def test_unpaired_and_foreign(write, tmp_path):
    assert camvid.look(tmp_path) is None
    root = write(["0001TP_1"], [[0, 11]])
    (root / "val" / "0001TP_1.jpg").unlink()
    with pytest.raises(DataError, match="without a picture"):
        camvid.look(root)
