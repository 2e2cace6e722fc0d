"""The forms an answer can take, and which of them a client's Accept header asks for.

index PNG (default), the picture blended with its classes, JSON with areas and COCO RLE, or the raw class map.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segx_core import rle
from segx_core.picture import encode_mask, encode_png, overlay
from segx_core.runner import ClassMap
from segx_serve.http import RefusalError, as_json
from segx_serve.job import Encode, Job, Payload
from segx_serve.models import Model


@dataclass(frozen=True)
class Form:
    """One form of answer: the media type that asks for it, and its parameters."""

    media_type: str
    build: Callable[[Model, bool], Encode]
    """(model, whether the client takes gzip) -> what a codec thread does with the finished job."""
    parameters: tuple[tuple[str, str], ...] = ()
    light: int = 0
    """Pixels up to which making it is so little work that the event loop does it itself."""


def forms() -> tuple[Form, ...]:
    """All forms, the preferred one first."""
    return (
        Form("image/png", _png, light=64 * 64),
        Form("application/json", _json),
        Form("application/octet-stream", _raw, light=128 * 128),
        Form("image/png", _overlay, (("overlay", "1"),)),
    )


def choose(accept: str) -> Form:
    """The form that an Accept header likes best.

    Raises:
        RefusalError: 406, it takes none of them.
    """
    known = forms()
    if not accept or accept == "*/*":
        return known[0]
    best, most = None, 0.0
    for wanted in accept.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in wanted.split(";"))
        given = tuple(tuple(piece.split("=", 1)) for piece in parameters if "=" in piece)
        quality = _quality(dict(pair for pair in given if len(pair) == 2))
        own = tuple(pair for pair in given if pair[0] == "overlay" and pair[1] != "0")
        form = next((form for form in known if form.parameters == own and _matches(media_type, form.media_type)), None)
        if form and quality > most:
            best, most = form, quality
    if best is None:
        names = ", ".join(";".join([form.media_type, *("=".join(pair) for pair in form.parameters)]) for form in known)
        raise RefusalError(
            406, "not_acceptable", f"Accept asks for '{accept[:200]}'. This service answers with: {names}."
        )
    return best


def _quality(parameters: dict[str, str]) -> float:
    try:
        return min(1.0, max(0.0, float(parameters.get("q", "1"))))
    except ValueError:
        return 0.0


def _matches(wanted: str, offered: str) -> bool:
    kind = offered.split("/", maxsplit=1)[0]
    return wanted in (offered, f"{kind}/*", "*/*")


def _png(model: Model, gzip: bool) -> Encode:
    def encode(job: Job) -> Payload:
        return Payload(encode_mask(_map(job), model.palette), "image/png")

    return encode


def _overlay(model: Model, gzip: bool) -> Encode:
    def encode(job: Job) -> Payload:
        assert job.picture is not None
        return Payload(encode_png(overlay(job.picture, _map(job), model.palette)), "image/png")

    return encode


def _raw(model: Model, gzip: bool) -> Encode:
    def encode(job: Job) -> Payload:
        classmap = _map(job)
        height, width = classmap.shape
        # Row-major, little-endian.
        data = np.ascontiguousarray(classmap, dtype=classmap.dtype.newbyteorder("<")).tobytes()
        headers = [
            (b"x-segx-shape", f"{height},{width}".encode()),
            (b"x-segx-dtype", classmap.dtype.name.encode()),
            (b"vary", b"Accept-Encoding"),
        ]
        if gzip:
            # Class maps are long runs of one value: the fastest level already takes off some 98 %.
            packer = zlib.compressobj(level=1, wbits=31)
            data = packer.compress(data) + packer.flush()
            headers.append((b"content-encoding", b"gzip"))
        return Payload(data, "application/octet-stream", tuple(headers))

    return encode


def _json(model: Model, gzip: bool) -> Encode:
    def encode(job: Job) -> Payload:
        reply = as_json(_describe(model, _map(job)))
        return Payload(reply.body, reply.media_type)

    return encode


def _describe(model: Model, classmap: ClassMap) -> dict[str, object]:
    """Size and, for every class of the card, how much of the picture it covers and where.

    Without a card only the classes that were found can be listed.
    """
    height, width = classmap.shape
    pixels = np.bincount(classmap.ravel(), minlength=len(model.card.classes) if model.card else 0)
    listed = range(len(model.card.classes)) if model.card else [int(index) for index in np.flatnonzero(pixels)]
    return {
        "model": model.name,
        "height": height,
        "width": width,
        "classes": [
            {
                "index": index,
                "name": model.class_name(index),
                "pixels": int(pixels[index]),
                "fraction": int(pixels[index]) / (height * width),
                "rle": rle.encode(classmap == index),
            }
            for index in listed
        ],
    }


def _map(job: Job) -> ClassMap:
    assert job.classmap is not None
    return job.classmap
