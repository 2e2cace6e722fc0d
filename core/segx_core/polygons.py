"""Where classes lie in a class map: their outlines as polygons with holes. Pixel coordinates, (x, y).

Knows nothing of files, and nothing of classes but their names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segx_core.cv import cv2
from segx_core.meaning import Indices, Meaning
from segx_core.runner import ClassMap

Vertices = list[list[int]]


def polygons(
    classmap: ClassMap,
    classes: tuple[str, ...],
    meaning: Meaning = Indices(),  # noqa: B008  it holds nothing
) -> list[dict[str, Any]]:
    """Every connected region (8-neighbours) as one outer polygon with its holes.

    Vertices are [x, y] at pixel centres, of the region's own outermost pixels for the outside, and of the region's
    pixels around a hole for the hole. Filled with its outline, drawn, and the holes' insides taken out, a polygon gives
    back exactly its pixels. A region of one pixel has one vertex.

    Args:
        classmap: (H, W) map.
        classes: names of its classes.
        meaning: reads the map; usually as class indices.

    Returns:
        Per region: "class", "index", "polygon", "holes".
    """
    return [
        {"class": classes[index], "index": index, **shape}
        for index, runs in meaning.by_class(classmap).items()
        for shape in outlines_in(classmap, index, runs.box, meaning)
    ]


def outlines_in(classmap: ClassMap, index: int, box: list[int], meaning: Meaning) -> list[dict[str, Any]]:
    """The regions of one class, as `outlines`, looked for in its box alone: a small one costs little.

    Args:
        classmap: (H, W) map.
        index: which class.
        box: [left, top, width, height] around all its pixels.
        meaning: reads the map.
    """
    left, top, width, height = box
    return outlines(meaning.mask(classmap[top : top + height, left : left + width], index), (left, top))


def outlines(mask: NDArray[np.bool_], corner: tuple[int, int] = (0, 0)) -> list[dict[str, Any]]:
    """The regions of one mask, as in `polygons`.

    Args:
        mask: (H, W) bool.
        corner: (left, top) of the mask in a larger picture, whose coordinates the vertices get.

    Returns:
        Per region: "polygon", its vertices, and "holes", a list of vertices for each hole.
    """
    if not mask.any():
        return []
    inside = np.ascontiguousarray(mask, np.uint8)
    lines, tree = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=corner)
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


def _vertices(outline: NDArray[Any]) -> Vertices:
    vertices: Vertices = np.asarray(outline).reshape(-1, 2).tolist()
    return vertices
