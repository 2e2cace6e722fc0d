from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from segx_core.datasets.masks import MaskEncoding, grey, load, packed, read_mask, stored_palette
from segx_core.errors import DataError

INDEX, BINARY = MaskEncoding(), MaskEncoding("binary")
VALUES = np.array([[0, 1, 2], [2, 255, 0]], dtype=np.uint8)
FLAT_PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [7] * (253 * 3)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif", ".webp"])
def test_index_masks_in_any_lossless_format(save, tmp_path, suffix):
    if suffix == ".webp":
        path = save(tmp_path / "m.webp", np.stack([VALUES] * 3, -1), lossless=True)
    else:
        path = save(tmp_path / f"m{suffix}", VALUES)
    mask = read_mask(path, INDEX, 3, 255)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, VALUES)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_index_masks_stored_as_grey_with_more_channels(save, tmp_path, channels):
    alpha = np.full_like(VALUES, 99)
    pixels = np.stack([VALUES, alpha], -1) if channels == 2 else np.stack([VALUES] * 3 + [alpha] * (channels - 3), -1)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", pixels), INDEX, 3, 255), VALUES)


def test_palette_masks_give_palette_indices(save, tmp_path):
    path = save(tmp_path / "m.png", VALUES, FLAT_PALETTE)
    np.testing.assert_array_equal(read_mask(path, INDEX, 3, 255), VALUES)
    assert stored_palette(path, 3) == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert stored_palette(path, 5) is None
    assert stored_palette(save(tmp_path / "plain.png", VALUES), 3) is None


def test_sixteen_bits(save, tmp_path):
    values = np.array([[0, 300], [299, 65535]], dtype=np.uint16)
    path = save(tmp_path / "m.png", values)
    mask = read_mask(path, INDEX, 301, 65535)
    assert mask.dtype == np.uint16
    np.testing.assert_array_equal(mask, values)
    small = save(tmp_path / "s.png", VALUES.astype(np.uint16))
    assert read_mask(small, INDEX, 3, 255).dtype == np.uint8


@pytest.mark.parametrize("white", [1, 255])
def test_binary_masks(save, tmp_path, white):
    values = np.array([[0, white], [white, 0]], dtype=np.uint8)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", values), BINARY, 2, 255), [[0, 1], [1, 0]])


def test_one_bit_and_sixteen_bit_binary_masks(save, tmp_path):
    values = np.array([[False, True]])
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", values), BINARY, 2, 255), [[0, 1]])
    wide = np.array([[0, 65535]], dtype=np.uint16)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "w.png", wide), BINARY, 2, 255), [[0, 1]])


def test_an_ignored_value_in_binary_masks(save, tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 255, 128]], dtype=np.uint8))
    np.testing.assert_array_equal(read_mask(path, BINARY, 2, 128), [[0, 1, 128]])
    with pytest.raises(DataError, match=r"128 on 1 pixels of .*m\.png.*threshold"):
        read_mask(path, BINARY, 2, 255)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(0, 4)),
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=5, max_size=5, unique=True),
)
def test_colours_stand_for_classes(tmp_path_factory, values, colors):
    path = tmp_path_factory.mktemp("masks") / "m.png"
    Image.fromarray(np.array(colors, dtype=np.uint8)[values]).save(path)
    classes = [0, 1, 1, 2, 255]  # two colours share a class, one is ignored
    encoding = MaskEncoding("rgb", tuple(zip(colors, classes, strict=True)))
    expected = [[classes[value] for value in row] for row in values.tolist()]
    np.testing.assert_array_equal(read_mask(path, encoding, 3, 255), expected)


def test_grey_levels_can_be_colours(save, tmp_path):
    encoding = MaskEncoding("rgb", (((0, 0, 0), 0), ((128, 128, 128), 1), ((255, 255, 255), 2)))
    path = save(tmp_path / "m.png", np.array([[0, 128, 255]], dtype=np.uint8))
    np.testing.assert_array_equal(read_mask(path, encoding, 3, 255), [[0, 1, 2]])


def test_an_unknown_colour_is_named_with_its_cure(save, tmp_path):
    path = save(tmp_path / "m.png", np.array([[[0, 0, 0], [1, 2, 3], [1, 2, 3]]], dtype=np.uint8))
    with pytest.raises(DataError, match=r"RGB \(1, 2, 3\) on 2 pixels of .*m\.png.*masks\.palette"):
        read_mask(path, MaskEncoding("rgb", (((0, 0, 0), 0),)), 1, 255)


def test_labels_beyond_the_classes(save, tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 7, 7, 3]], dtype=np.uint8))
    with pytest.raises(DataError, match=r"0\.\.2 or 255 .*7 on 2 pixels of .*m\.png.*ignore: 7"):
        read_mask(path, INDEX, 3, 255)
    binary = save(tmp_path / "b.png", np.array([[0, 255]], dtype=np.uint8))
    with pytest.raises(DataError, match="encoding: binary"):
        read_mask(binary, INDEX, 3, 11)


def test_colours_where_indices_were_promised(save, tmp_path):
    path = save(tmp_path / "m.png", np.array([[[0, 0, 0], [1, 2, 3]]], dtype=np.uint8))
    with pytest.raises(DataError, match="encoding: rgb"):
        read_mask(path, INDEX, 3, 255)


def test_jpeg_is_refused_whatever_its_name(save, tmp_path):
    path = save(tmp_path / "m.png", VALUES, format="JPEG")
    with pytest.raises(DataError, match="lossless"):
        load(path)


def test_unreadable_files(save, tmp_path):
    path = save(tmp_path / "m.png", np.random.default_rng(0).integers(0, 9, (50, 50)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"readable mask, got .*m\.png"):
        load(path)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match="readable mask"):
        load(tmp_path / "text.png")
    with pytest.raises(DataError, match="readable mask"):
        load(tmp_path / "absent.png")


def test_floating_point_pictures_are_no_masks(save, tmp_path):
    path = save(tmp_path / "m.tif", np.ones((2, 2), dtype=np.float32))
    with pytest.raises(DataError, match="kind 'F'"):
        load(path)
    negative = save(tmp_path / "n.tif", np.full((2, 2), -1, dtype=np.int32))
    with pytest.raises(DataError, match=r"0\.\.65535"):
        load(negative)


def test_grey_and_packed():
    colors = np.array([[[1, 2, 3]]], dtype=np.uint8)
    assert grey(colors) is None
    assert packed(colors)[0, 0] == 0x010203
    assert packed(np.array([[255]], dtype=np.uint8))[0, 0] == 0xFFFFFF
