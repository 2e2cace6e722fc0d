"""Description of POST /segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from segx_serve.openapi.parts import BINARY, TEXT, Node, answer, failure, one_of, operation, ref
from segx_serve.settings import Settings

_TAG = "Segmentation"
TAGS: list[Node] = [{"name": _TAG, "description": "Pictures in, classes out."}]
_ABOUT = (
    "The picture is the request's body, or the field `image` of a form. The header Accept chooses the answer: "
    "`image/png` a palette PNG of class indices (the usual one), `image/png;overlay=1` the picture blended with the "
    "classes' colours, `application/json` areas, boxes and COCO run lengths (`;rle=0` leaves those out, `;polygons=1` "
    "adds outlines), `application/octet-stream` one number a pixel, row by row (gzip where Accept-Encoding takes it). "
    "A form may hold the field several times; it is then answered with `application/json` (a list, with the same "
    "options) or `application/zip` (a PNG a picture, also with `;overlay=1`, and errors.json where some failed), and a "
    "picture that fails spoils none of the others."
)
_PICTURES = ("image/jpeg", "image/png", "image/webp", "image/*", "application/octet-stream")


def paths(models: Mapping[str, Sequence[str]], settings: Settings) -> Node:
    """The route."""
    return {
        "/segment": {
            "post": operation(
                settings,
                "segment",
                "Segment a picture, or several",
                _TAG,
                _answers(),
                parameters=_parameters(models),
                body=_body(settings),
                description=_ABOUT,
            )
        }
    }


def _parameters(models: Mapping[str, Sequence[str]]) -> list[Node]:
    versions = set(chain.from_iterable(models.values()))
    choices = {
        "model": (one_of(models), "Which model. Optional when only one is served.", len(models) > 1),
        "version": (one_of(versions), "Which version of the model; the newest when left out.", False),
    }
    return [
        {"name": name, "in": "query", "required": required, "description": about, "schema": schema}
        for name, (schema, about, required) in choices.items()
    ]


def _body(settings: Settings) -> Node:
    most = settings.max_queue
    form = {
        "type": "object",
        "required": ["image"],
        "additionalProperties": False,
        "properties": {
            "image": {
                "description": f"A picture file; the field may stand up to {min(most, 32)} times.",
                "type": "array",
                "items": BINARY,
                "minItems": 1,
                "maxItems": min(most, 32),
            }
        },
    }
    multipart = {"schema": form, "encoding": {"image": {"contentType": "image/png, image/jpeg, image/webp"}}}
    return {
        "required": True,
        "description": (
            f"At most {settings.max_body} bytes, and {settings.max_pixels} pixels a picture. "
            "Content-Encoding is not taken."
        ),
        "content": {**{name: {"schema": BINARY} for name in _PICTURES}, "multipart/form-data": multipart},
    }


def _answers() -> Node:
    headers: Node = {
        "X-Segx-Shape": {
            "description": "Only with application/octet-stream: height,width",
            "schema": {**TEXT, "pattern": "^[0-9]+,[0-9]+$"},
        },
        "X-Segx-Dtype": {
            "description": "Only with application/octet-stream: how each pixel is stored, little-endian",
            "schema": {"enum": ["uint8", "uint16"]},
        },
        "Content-Encoding": {
            "description": "Only with application/octet-stream, where it was compressed",
            "schema": {"enum": ["gzip"]},
        },
        "Content-Disposition": {"description": "Only with application/zip: a file's name", "schema": TEXT},
        "Server-Timing": {
            "description": "Of one picture: milliseconds in queue, decode, run and encode",
            "schema": TEXT,
        },
    }
    content = {
        "image/png": BINARY,
        "application/json": {"anyOf": [ref("Segmentation"), ref("Segmentations")]},
        "application/octet-stream": BINARY,
        "application/zip": BINARY,
    }
    return {
        "200": answer("The classes of every pixel", content, headers),
        "400": failure("A broken, truncated or empty picture; a broken form; an unknown or repeated parameter"),
        "404": failure("No model of that name or version; the message names the nearest"),
        "406": failure("Accept takes none of the forms of answer"),
        "408": failure("The body did not arrive in time"),
        "413": failure("The body, a picture, the number of pictures or the outlines are larger than allowed"),
        "415": failure("Not a picture, or of a kind that is not read; or compressed"),
        "422": failure("A form field that is missing or unknown; the message names it"),
    }
