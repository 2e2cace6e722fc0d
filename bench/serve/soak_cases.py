"""What the soak asks and what it must be told: pictures of several sizes and formats, and the answers to them.

The answers are made without the service, by Predictor and core's encoders: what `segx predict` writes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.serve.make_models import scene
from segx_core import rle
from segx_core.picture import decode, encode_mask, encode_png, overlay
from segx_core.predictor import Predictor
from segx_core.runner import ClassMap, UInt8

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
SIZES = ((64, 64), (120, 160), (241, 317), (480, 640))
"""Rows and columns; one of them odd both ways."""


@dataclass(frozen=True)
class Case:
    """One request and the check of its answer."""

    name: str
    path: str
    body: bytes
    media_type: str
    accept: str
    is_right: Callable[[bytes], bool]


def make_cases(models: list[Path]) -> list[Case]:
    """Every model with every picture in every form."""
    cases = []
    pictures = make_pictures()
    for path in models:
        predictor = Predictor.load(path, provider="cpu", threads=1)
        for name, body, media_type in pictures:
            pixels = decode(body)
            for accept, is_right in answers(predictor, pixels).items():
                title = f"{path.stem} {name} {accept}"
                cases.append(Case(title, f"/segment?model={path.stem}", body, media_type, accept, is_right))
    return cases


def make_pictures() -> list[tuple[str, bytes, str]]:
    """(name, bytes, media type) of every size in every format."""
    dice = np.random.default_rng(7)
    pictures = []
    for height, width in SIZES:
        pixels = scene(dice, height, width)
        for kind, media_type in FORMATS.items():
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, kind)
            pictures.append((f"{kind} {width}x{height}", out.getvalue(), media_type))
    return pictures


def answers(predictor: Predictor, pixels: UInt8) -> dict[str, Callable[[bytes], bool]]:
    """Accept header -> the check of the answer to it."""
    classmap = predictor.predict(pixels)
    palette = predictor.card.palette
    mask = encode_mask(classmap, palette)
    blended = encode_png(overlay(pixels, classmap, palette))
    raw = classmap.tobytes()
    described = description(classmap, len(predictor.card.classes))
    return {
        "image/png": lambda data: data == mask,
        "image/png;overlay=1": lambda data: data == blended,
        "application/octet-stream": lambda data: data == raw,
        "application/json": lambda data: facts(data) == described,
    }


def description(classmap: ClassMap, classes: int) -> object:
    """(height, width, [pixels and RLE of each class])."""
    found = [(int((classmap == index).sum()), rle.encode(classmap == index)["counts"]) for index in range(classes)]
    return (*classmap.shape, found)


def facts(data: bytes) -> object:
    """The same out of a JSON answer."""
    said = json.loads(data)
    found = [(one["pixels"], one["rle"]["counts"]) for one in said["classes"]]
    return (said["height"], said["width"], found)
