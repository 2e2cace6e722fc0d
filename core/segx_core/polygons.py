"""Where classes lie in a class map: outlines as polygons with holes, and bounding boxes. Pixel coordinates, (x, y).

Knows nothing of files, and nothing of classes but their names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segx_core.cv import cv2
from segx_core.runner import ClassMap

Vertices = list[list[int]]


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
    return [
        {"class": classes[index], "index": index, **shape}
        for index in np.flatnonzero(np.bincount(classmap.ravel())).tolist()
        for shape in outlines(classmap == index)
    ]


def outlines(mask: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """The regions of one mask, as in `polygons`.

    Args:
        mask: (H, W) bool.

    Returns:
        Per region: "polygon", its vertices, and "holes", a list of vertices for each hole.
    """
    box = bounding_box(mask)
    if box is None:
        return []
    left, top, width, height = box
    # The box alone: a small region in a large picture costs little.
    inside = mask[top : top + height, left : left + width].astype(np.uint8)
    lines, tree = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top))
    parents = np.asarray(tree).reshape(-1, 4)[:, 3].tolist()  # (next, previous, first child, parent)
    shapes: dict[int, dict[str, Any]] = {
        number: {"polygon": _vertices(line), "holes": []}
        for number, (line, parent) in enumerate(zip(lines, parents, strict=True))
        if parent < 0
    }
    for line, parent in zip(lines, parents, strict=True):
        if parent >= 0:
            shapes[parent]["holes"].append(_vertices(line))
    return list(shapes.values())


def bounding_box(mask: NDArray[np.bool_]) -> list[int] | None:
    """[left, top, width, height] in pixels of the smallest box around a mask, as COCO's `bbox`; None where it is empty.

    Args:
        mask: (H, W) bool.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def borders(classmap: ClassMap) -> int:
    """Pairs of neighbouring pixels (side by side or one above the other) of different classes.

    Outlines have at most about so many vertices, so it tells cheaply what `polygons` would cost.
    """
    beside = np.count_nonzero(classmap[:, 1:] != classmap[:, :-1])
    above = np.count_nonzero(classmap[1:] != classmap[:-1])
    return int(beside) + int(above)


def _vertices(outline: NDArray[Any]) -> Vertices:
    vertices: Vertices = np.asarray(outline).reshape(-1, 2).tolist()
    return vertices
