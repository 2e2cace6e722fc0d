"""A map as JSON: the picture's size and, for every class, how much it covers and where. Knows nothing of HTTP."""

from __future__ import annotations

import json

import numpy as np

from segx_core import rle
from segx_core.errors import PictureError
from segx_core.polygons import outlines_in
from segx_core.runner import ClassMap
from segx_serve.legend import Legend

# Outlines have at most about so many vertices: some 30 MB of JSON. A map of noise would have many times more.
_MOST_BORDERS = 2_000_000
_NONE = np.zeros(0, np.int64)


def describe(legend: Legend, classmap: ClassMap, *, rles: bool = True, polygons: bool = False) -> dict[str, object]:
    """Size and classes: all of the legend's, or where it names none, those that were found.

    Args:
        legend: what its numbers mean.
        classmap: (H, W) map; of a multilabel one the areas may overlap.
        rles: whether each class gets "rle", its mask as COCO's compressed run lengths.
        polygons: whether each class gets "polygons", its regions as core's `outlines` draws them.

    Returns:
        "model", "height", "width" and "classes", each with "index", "name", "pixels", "fraction" of the picture and
        "bbox" as COCO has it, None for a class that is not there.

    Raises:
        PictureError: kind "too_large", polygons of a map so torn that they would fill memory.
    """
    if polygons and (torn := legend.meaning.borders(classmap)) > _MOST_BORDERS:
        raise PictureError(
            f"a segmentation whose classes have at most {_MOST_BORDERS} pixels of border for polygons",
            f"one with {torn}",
            "Ask without polygons=1, or send the picture smaller.",
            kind="too_large",
        )
    height, width = classmap.shape
    found = legend.meaning.by_class(classmap)
    absent = rle.from_runs(_NONE, _NONE, (height, width)) if rles else None
    classes: list[dict[str, object]] = []
    for index in range(len(legend.classes)) if legend.classes else found:
        runs = found.get(index)
        pixels = runs.area if runs else 0
        box = runs.box if runs else None
        one: dict[str, object] = {
            "index": index,
            "name": legend.name(index),
            "pixels": pixels,
            "fraction": pixels / (height * width),
            "bbox": box,
        }
        if rles:
            one["rle"] = runs.rle() if runs else absent
        if polygons:
            one["polygons"] = outlines_in(classmap, index, box, legend.meaning) if box else []
        classes.append(one)
    return {"model": legend.model, "height": height, "width": width, "classes": classes}


def as_bytes(value: object) -> bytes:
    """JSON without spaces, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
