from __future__ import annotations

import cv2
import numpy as np
import pytest

from segx_core import rle
from segx_evaluate.formats import coco_annotations, polygons


def redraw(shapes: list[dict], height: int, width: int) -> np.ndarray:
    """Class map from polygons by the rule in the docstring, each region on its own."""
    labels = np.full((height, width), 255, np.uint8)
    for shape in shapes:
        region = np.zeros((height, width), np.uint8)
        outside = np.array(shape["polygon"], np.int32)
        cv2.fillPoly(region, [outside], 1)
        for hole in shape["holes"]:
            ring = np.array(hole, np.int32)
            inside = np.zeros_like(region)
            cv2.fillPoly(inside, [ring], 1)
            border = np.zeros_like(region)
            cv2.polylines(border, [ring], True, 1)
            region[(inside == 1) & (border == 0)] = 0
        assert (labels[region == 1] == 255).all()
        labels[region == 1] = shape["index"]
    return labels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("block", [3, 8])
def test_polygons_give_back_every_pixel(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 3, (6, 7)), np.ones((block, block), int)).astype(np.uint8)
    shapes = polygons(labels, ("a", "b", "c"))
    np.testing.assert_array_equal(redraw(shapes, *labels.shape), labels)


def test_a_ring_has_its_hole_and_a_pixel_its_vertex() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 1
    labels[4, 4] = 2
    by_class = {shape["class"]: shape for shape in polygons(labels, ("sky", "ring", "dot"))}
    assert by_class["dot"] == {"class": "dot", "index": 2, "polygon": [[4, 4]], "holes": []}
    assert len(by_class["ring"]["holes"]) == 1
    assert len(by_class["sky"]["holes"]) == 1
    assert by_class["ring"]["polygon"] == [[2, 2], [2, 6], [6, 6], [6, 2]]


def test_coco_annotations_cover_the_picture_once() -> None:
    labels = np.kron(np.random.default_rng(4).integers(0, 300, (3, 5)), np.ones((4, 4), int)).astype(np.uint16)
    found = coco_annotations(labels, image_id=7, first_id=11)
    assert [each["id"] for each in found] == list(range(11, 11 + len(np.unique(labels))))
    back = np.zeros(labels.shape, np.uint16)
    for each in found:
        mask = rle.decode(each["segmentation"])
        left, top, width, height = each["bbox"]
        assert each["area"] == mask.sum()
        assert mask[top : top + height, left : left + width].sum() == mask.sum()
        assert mask[top].any()
        assert mask[:, left + width - 1].any()
        back[mask] = each["category_id"]
        assert each["image_id"] == 7
    np.testing.assert_array_equal(back, labels)
