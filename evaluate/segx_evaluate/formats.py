"""Class maps in the forms other tools read: COCO's JSON with run lengths, and polygons with holes.

The PNG of class indices is not here: it has one encoder, in core, shared with the service. Knows nothing of files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segx_core import rle
from segx_core.card import Card
from segx_core.cv import cv2
from segx_core.runner import ClassMap


def coco_categories(card: Card) -> list[dict[str, Any]]:
    """COCO's `categories`: the id is the class index, so equal to the pixel values of the PNG form."""
    return [
        {"id": index, "name": name, "color": list(color)}
        for index, (name, color) in enumerate(zip(card.classes, card.palette, strict=True))
    ]


def coco_annotations(classmap: ClassMap, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """One annotation for every class in the picture, its segmentation a compressed RLE.

    Args:
        classmap: (H, W) class indices.
        image_id: the picture's id.
        first_id: id of the first annotation; the others follow.
    """
    found = []
    for number, index in enumerate(np.unique(classmap).tolist()):
        mask = classmap == index
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        top, left = int(rows[0]), int(columns[0])
        found.append(
            {
                "id": first_id + number,
                "image_id": image_id,
                "category_id": index,
                "segmentation": rle.encode(mask),
                "area": int(mask.sum()),
                "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                "iscrowd": 1,
            }
        )
    return found


def polygons(classmap: ClassMap, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every connected region (8-neighbours) as one outer polygon with its holes.

    Vertices are [x, y] at pixel centres, of the region's own outermost pixels for the outside, and of the region's
    pixels around a hole for the hole. Filled with its outline, drawn, and the holes' insides taken out, a polygon gives
    back exactly its pixels. A region of one pixel has one vertex.

    Args:
        classmap: (H, W) class indices.
        classes: their names.

    Returns:
        Per region: "class", "index", "polygon", "holes".
    """
    shapes = []
    for index in np.unique(classmap).tolist():
        mask = (classmap == index).astype(np.uint8)
        outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        links = np.asarray(tree).reshape(-1, 4)  # next, previous, first child, parent
        for number in np.flatnonzero(links[:, 3] < 0).tolist():
            holes = np.flatnonzero(links[:, 3] == number).tolist()
            shapes.append(
                {
                    "class": classes[index],
                    "index": index,
                    "polygon": _vertices(outlines[number]),
                    "holes": [_vertices(outlines[hole]) for hole in holes],
                }
            )
    return shapes


def _vertices(outline: NDArray[Any]) -> list[list[int]]:
    return [[int(x), int(y)] for x, y in np.asarray(outline).reshape(-1, 2)]
