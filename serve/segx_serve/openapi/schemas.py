"""Shapes of what the service tells outside the Open Inference Protocol, and of errors."""

from __future__ import annotations

from segx_serve.openapi.parts import COUNT, FLAG, TEXT, Node, array, record, ref
from segx_serve.settings import LIMITS


def schemas() -> Node:
    """Name -> schema."""
    byte: Node = {"type": "integer", "minimum": 0, "maximum": 255}
    reason = record(code=TEXT, message=TEXT)
    limit = {"type": "number", "minimum": 0}
    return {
        "Error": record(error=reason),
        "PlainError": record(error=TEXT),
        "Segmentation": record(
            ("name",), name={**TEXT, "description": "The file's, where several were sent"}, **_segmentation()
        ),
        "Segmentations": record(
            pictures=array({"anyOf": [ref("Segmentation"), ref("FailedPicture")]}),
        ),
        "FailedPicture": record(name=TEXT, error=reason),
        "Class": _class(),
        "Models": record(models=array(ref("Model")), sample={**FLAG, "description": "Whether there is /sample"}),
        "Model": record(
            name=TEXT,
            task={"enum": ["multiclass", "multilabel"], "description": "One class a pixel, or any number of them"},
            provider=TEXT,
            precision=TEXT,
            size_bytes={"type": ["integer", "null"]},
            gate={"type": ["string", "null"], "description": "What the quality gate said of the file"},
            classes={"type": ["array", "null"], "items": TEXT},
            palette=array(array(byte, minItems=3, maxItems=3)),
            measurements=array({"type": "object"}),
        ),
        "Server": record(
            name=TEXT,
            version=TEXT,
            extensions=array(TEXT),
            limits=record(**dict.fromkeys(LIMITS, limit)),
        ),
        "Live": record(live=FLAG),
        "Ready": record(
            ("waiting",), ready=FLAG, waiting={"type": "object", "additionalProperties": TEXT, "description": "Why not"}
        ),
    }


def _segmentation() -> dict[str, Node]:
    return {"model": TEXT, "height": COUNT, "width": COUNT, "classes": array(ref("Class"))}


def _class() -> Node:
    run_length = record(size=array(COUNT, minItems=2, maxItems=2), counts=TEXT)
    run_length["description"] = "COCO's compressed run lengths, as pycocotools reads them; size is [height, width]"
    vertices = {**array(array(COUNT)), "description": "Corners [x, y] at the centres of pixels"}
    return record(
        ("rle", "polygons"),
        index=COUNT,
        name=TEXT,
        pixels=COUNT,
        fraction={"type": "number", "minimum": 0, "maximum": 1, "description": "Share of the picture's pixels"},
        bbox={
            "type": ["array", "null"],
            "items": COUNT,
            "description": "[left, top, width, height] in pixels; null for a class that is not there",
        },
        rle=run_length,
        polygons=array(record(polygon=vertices, holes=array(vertices))),
    )
