from __future__ import annotations

import numpy as np

from segx_core import rle
from segx_evaluate.formats import coco_annotations


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
