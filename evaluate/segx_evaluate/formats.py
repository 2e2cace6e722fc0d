"""Class maps in COCO's JSON, with run lengths.

The PNG of class indices and polygons are not here: they stand in core, shared with the service. Knows nothing of files.
"""

from __future__ import annotations

from typing import Any

from segx_core.card import Card
from segx_core.meaning import Indices, Meaning
from segx_core.runner import ClassMap


def coco_categories(card: Card) -> list[dict[str, Any]]:
    """COCO's `categories`: the id is the class index, so equal to the pixel values of the PNG form."""
    return [
        {"id": index, "name": name, "color": list(color)}
        for index, (name, color) in enumerate(zip(card.classes, card.palette, strict=True))
    ]


def coco_annotations(
    classmap: ClassMap,
    image_id: int,
    first_id: int,
    meaning: Meaning = Indices(),  # noqa: B008  it holds nothing
) -> list[dict[str, Any]]:
    """One annotation for every class in the picture, its segmentation a compressed RLE.

    Args:
        classmap: (H, W) map.
        image_id: the picture's id.
        first_id: id of the first annotation; the others follow.
        meaning: reads the map; annotations of a multilabel one may overlap.
    """
    return [
        {
            "id": first_id + number,
            "image_id": image_id,
            "category_id": index,
            "segmentation": runs.rle(),
            "area": runs.area,
            "bbox": runs.box,
            "iscrowd": 1,
        }
        for number, (index, runs) in enumerate(meaning.by_class(classmap).items())
    ]
