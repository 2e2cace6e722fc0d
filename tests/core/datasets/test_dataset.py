from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segx_core.datasets import Sample, open_dataset, spread
from segx_core.errors import DataError, PictureError


@pytest.fixture
def data(pairs):
    return open_dataset(pairs({name: [[0, 1, 2], [2, 255, 0]] for name in "abcdef"}))


def test_splits_by_name(data):
    assert len(data.split("train")) == 5
    assert len(data.split("all")) == 6
    with pytest.raises(DataError, match=r"train \(5 pictures\), val \(1 pictures\), got 'vall'. Did you mean 'val'"):
        data.split("vall")


def test_all_keeps_names_apart(pairs, tmp_path):
    for split in ("train", "val"):
        pairs({"a": [[0, 1]]}, images=f"{split}/images", folder=f"{split}/masks")
    names = [sample.name for sample in open_dataset(tmp_path).split("all")]
    assert names == ["train__a", "val__a"]


def test_read_gives_picture_and_mask(data):
    sample = data.split("train")[0]
    image, mask = data.read(sample)
    assert image.shape == (2, 3, 3)
    np.testing.assert_array_equal(mask, [[0, 1, 2], [2, 255, 0]])
    np.testing.assert_array_equal(data.read_mask(sample), mask)


def test_another_size_is_refused(data, save):
    sample = data.split("train")[0]
    save(sample.mask, np.zeros((4, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=rf"size, 2x3 \(height x width\), got 4x3 in .*{sample.mask.name}.*nearest"):
        data.read(sample)


def test_a_turned_camera_picture_is_explained(data, save):
    sample = data.split("train")[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    save(sample.image, np.zeros((2, 3, 3), dtype=np.uint8), exif=exif)
    with pytest.raises(DataError, match="EXIF"):
        data.read(sample)


def test_a_label_beyond_the_classes_is_found_when_read(data, save):
    sample = data.split("train")[0]
    save(sample.mask, np.array([[0, 9, 9], [0, 0, 0]], dtype=np.uint8))
    with pytest.raises(DataError, match=rf"9 on 2 pixels of .*{sample.mask.name}"):
        data.read(sample)


def test_a_broken_picture_is_named(data):
    sample = data.split("train")[0]
    sample.image.write_bytes(sample.image.read_bytes()[:200])
    with pytest.raises(PictureError, match=sample.image.name):
        data.read(sample)


def test_the_fingerprint_follows_files_and_classes(data, save, pairs, tmp_path):
    before = data.fingerprint()
    assert len(before) == 64
    assert data.fingerprint() == open_dataset(tmp_path).fingerprint() == before
    (tmp_path / "dataset.yaml").write_text("classes: [x, y, z]\n")
    renamed = open_dataset(tmp_path).fingerprint()
    assert renamed != before
    (tmp_path / "dataset.yaml").unlink()
    pairs({"g": [[0, 1, 2]]})
    assert open_dataset(tmp_path).fingerprint() not in (before, renamed)


def test_a_file_that_went_away_is_said(data):
    data.split("train")[0].image.unlink()
    with pytest.raises(DataError, match="still in place"):
        data.fingerprint()


def test_samples_and_data_sets_are_frozen(data):
    with pytest.raises(AttributeError):
        data.layout = "other"
    sample = data.split("val")[0]
    assert sample == Sample(sample.name, sample.image, sample.mask)
    assert hash(sample)


def test_spread_takes_even_distances(data):
    train = data.split("train")
    assert spread(train, 2) == (train[0], train[2])
    assert spread(train, None) == spread(train, 9) == train
