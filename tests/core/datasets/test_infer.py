from __future__ import annotations

import numpy as np
import pytest

from segx_core.datasets import infer
from segx_core.datasets.masks import MaskEncoding
from segx_core.errors import DataError


@pytest.fixture
def masks(save, tmp_path):
    def write(*arrays, dtype=np.uint8):
        return [save(tmp_path / f"{i}.png", np.asarray(array, dtype=dtype)) for i, array in enumerate(arrays)]

    return write


def test_index_masks_over_several_files(masks):
    found = infer.labels(masks([[0, 1]], [[4, 255]], [[2, 3]]))
    assert found.classes == ("class_0", "class_1", "class_2", "class_3", "class_4")
    assert found.ignore_index == 255
    assert found.encoding == MaskEncoding("index")
    assert found.inferred
    assert "255 is ignored" in found.notes[0]
    assert len(set(found.palette)) == 5


def test_gaps_are_said(masks):
    found = infer.labels(masks([[0, 3, 5]]))
    assert len(found.classes) == 6
    assert "3 of these indices occur in no mask" in found.notes[0]
    assert "ignored" not in found.notes[0]


@pytest.mark.parametrize(("white", "dtype", "ignore"), [(255, np.uint8, 255), (65535, np.uint16, 65535)])
def test_binary_masks(masks, white, dtype, ignore):
    found = infer.labels(masks([[0, white]], [[0, 0]], dtype=dtype))
    assert found.classes == ("background", "foreground")
    assert found.encoding == MaskEncoding("binary")
    assert found.ignore_index == ignore


def test_zero_and_one(masks):
    found = infer.labels(masks([[0, 1]]))
    assert found.classes == ("background", "foreground")
    assert found.encoding == MaskEncoding("index")
    with_ignored = infer.labels(masks([[0, 1, 255]]))
    assert with_ignored.classes == ("class_0", "class_1")
    assert with_ignored.ignore_index == 255


def test_more_than_256_classes(masks):
    values = np.append(np.arange(300), 65535).reshape(7, 43)
    found = infer.labels(masks(values, dtype=np.uint16))
    assert len(found.classes) == 300
    assert found.ignore_index == 65535


def test_grey_rgb_masks_are_taken_as_values(masks):
    values = np.array([[0, 1, 2]])
    assert len(infer.labels(masks(np.stack([values] * 3, -1))).classes) == 3
    assert infer.labels(masks(np.stack([values // 2 * 255] * 3, -1))).encoding.kind == "binary"


def test_palette_png_keeps_its_colours(save, tmp_path):
    path = save(
        tmp_path / "m.png", np.array([[0, 1, 2, 255]], dtype=np.uint8), [0, 0, 0, 200, 0, 0, 0, 0, 9] + [3] * 759
    )
    found = infer.labels([path])
    assert found.palette == ((0, 0, 0), (200, 0, 0), (0, 0, 9))


def test_colours_are_learnt_black_first(masks):
    found = infer.labels(masks([[[128, 64, 0], [0, 0, 0]]], [[[0, 255, 0], [0, 0, 0]]]))
    assert found.classes == ("color_000000", "color_00FF00", "color_804000")
    assert found.palette == ((0, 0, 0), (0, 255, 0), (128, 64, 0))
    assert found.encoding == MaskEncoding("rgb", (((0, 0, 0), 0), ((0, 255, 0), 1), ((128, 64, 0), 2)))
    assert "3 colours" in found.notes[0]


def test_too_many_colours(masks):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 10, 3))
    with pytest.raises(DataError, match="at most 64"):
        infer.labels(masks(pixels))


def test_mixed_kinds(masks):
    with pytest.raises(DataError, match=r"colours in .*0\.png and one channel in .*1\.png"):
        infer.labels(masks([[[0, 0, 0], [1, 2, 3]]], [[0, 1]]))


@pytest.mark.parametrize("values", [[0, 128, 255], [0, 127, 254], [0, 85, 170, 255], [0, 50, 100, 150, 200, 250]])
def test_grey_levels_are_refused_with_a_cure(masks, values):
    with pytest.raises(DataError, match="renumber them 0, 1, 2"):
        infer.labels(masks([values]))


def test_smoothed_binary_masks_are_refused(masks):
    pixels = np.zeros((64, 64), dtype=np.uint8)
    pixels[:30] = 255
    pixels[30, :] = np.arange(64) * 4
    with pytest.raises(DataError, match="threshold"):
        infer.labels(masks(pixels))


@pytest.mark.parametrize("value", [0, 255])
def test_one_value_only(masks, value):
    with pytest.raises(DataError, match=f"only the value {value}"):
        infer.labels(masks([[value, value]]))


def test_kind_for_declared_classes(masks):
    assert infer.kind(masks([[0, 255]])) == "binary"
    assert infer.kind(masks([[0, 1, 255]])) == "index"
    assert infer.kind(masks([[[1, 2, 3]]])) == "rgb"


def test_binary_must_be_so_in_every_mask(masks):
    few = [[0, 255]] * 20
    assert infer.kind(masks(*few, [[0, 255]], *few)) == "binary"
    assert infer.kind(masks(*few, [[1, 255]], *few)) == "index"


def test_many_masks_show_progress(masks, capsys, monkeypatch):
    monkeypatch.setattr(infer, "_MANY_MASKS", 2)
    infer.labels(masks([[0, 1]], [[0, 1]]))
    assert "looking at masks: 2 masks done" in capsys.readouterr().err
