"""Both ways to read a map: what they count, find, draw and write."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segx_core import bits, picture
from segx_core.meaning import Indices, Labels, meaning
from segx_core.polygons import outlines, polygons

PALETTE = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
FIELDS = np.array([[0, 1, 3], [2, 7, 4]], np.uint8)


def test_the_task_chooses() -> None:
    assert isinstance(meaning("multiclass"), Indices)
    assert isinstance(meaning("multilabel"), Labels)


@pytest.mark.parametrize(("task", "narrow"), [("multiclass", 256), ("multilabel", 8)])
def test_types_are_as_narrow_as_can_be(task, narrow) -> None:
    assert meaning(task).map_type(narrow) == np.uint8
    assert meaning(task).map_type(narrow + 1) == np.uint16


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_counts_start_from_nothing_of_their_own_shape(task) -> None:
    reader = meaning(task)
    ignore = 8 if task == "multilabel" else 255
    target, found = (np.random.default_rng(seed).integers(0, 3, (5, 6)).astype(np.uint8) for seed in (0, 1))
    counts = reader.no_counts(3)
    counts += reader.count(target, found, 3, ignore)
    assert counts.sum() == target.size * (3 if task == "multilabel" else 1)


def test_masks_and_borders_of_indices() -> None:
    np.testing.assert_array_equal(Indices().mask(FIELDS, 2), FIELDS == 2)
    assert Indices().borders(FIELDS) == 7


def test_the_png_holds_the_fields_and_shows_blended_colours() -> None:
    image = Image.open(BytesIO(Labels().encode(FIELDS, PALETTE)))
    np.testing.assert_array_equal(np.asarray(image), FIELDS)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB"))[0, 2], [100, 100, 0])
    wide = FIELDS.astype(np.uint16) << 8
    assert np.array_equal(np.asarray(Image.open(BytesIO(Labels().encode(wide, PALETTE * 4)))), wide)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_overlays_leave_pixels_of_no_class_bare(kind) -> None:
    image = np.random.default_rng(2).integers(0, 256, (2, 3, 3)).astype(np.uint8)
    laid = Labels().overlay(image, FIELDS.astype(kind), PALETTE, 0.25)
    np.testing.assert_array_equal(laid[0, 0], image[0, 0])
    both = picture.overlay(image, np.zeros((2, 3), np.uint8), [(100, 100, 0)], 0.25)
    np.testing.assert_array_equal(laid[0, 2], both[0, 2])
    ignored = np.full((2, 3), bits.ignored(3), kind)
    np.testing.assert_array_equal(Labels().overlay(image, ignored, PALETTE), image)


def test_overlays_of_eight_labels_know_none_from_all() -> None:
    image = np.full((1, 2, 3), 10, np.uint8)
    laid = Labels().overlay(image, np.array([[0, 255]], np.uint8), [(90, 90, 90)] * 8, 1.0)
    assert laid.tolist() == [[[10, 10, 10], [90, 90, 90]]]


def test_polygons_of_each_label_are_those_of_its_mask() -> None:
    random = np.random.default_rng(3)
    planes = np.kron(random.random((3, 4, 5)) < 0.5, np.ones((1, 4, 4), bool))
    shapes = polygons(bits.pack(planes), ("a", "b", "c"), Labels())
    for index, name in enumerate("abc"):
        own = [{"polygon": one["polygon"], "holes": one["holes"]} for one in shapes if one["class"] == name]
        assert own == outlines(planes[index])
