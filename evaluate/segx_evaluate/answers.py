"""Writers of predicted maps: PNG, PNGs of each class, COCO JSON, polygons. Each answers `add` with the files it wrote.

Every file is written whole or not at all. The COCO form is one file for all pictures, written at the end, and also when
the work is interrupted. Knows nothing of models or of how inputs were found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np

from segx_core import atomic, picture
from segx_core.card import Card
from segx_core.errors import ConfigError, near
from segx_core.meaning import meaning
from segx_core.polygons import polygons
from segx_core.runner import ClassMap
from segx_evaluate import formats
from segx_evaluate.plan import Job

Format = Literal["png", "masks", "coco", "polygons"]


class Answers(Protocol):
    """One way to write class maps down."""

    def add(self, job: Job, classmap: ClassMap) -> list[Path]:
        """Take one picture's (H, W) map; returns the files it is or will be written to."""
        ...


def known_format(form: str) -> Format:
    """The format of this name.

    Raises:
        ConfigError: there is no such form.
    """
    names = get_args(Format)
    if form not in names:
        raise ConfigError("a known --format", f"'{form}'", near(form, names))
    return cast(Format, form)


@contextmanager
def writer(form: Format, card: Card, out: Path) -> Iterator[Answers]:
    """The writer of this form; what is not on the disk yet is written when the context ends, however it ends."""
    match form:
        case "png":
            yield Pngs(card, out)
        case "masks":
            yield Masks(card, out)
        case "polygons":
            yield Polygons(card, out)
        case "coco":
            coco = Coco(card, out)
            try:
                yield coco
            finally:
                coco.write()


class Pngs:
    """`<stem>.png`: the map with its palette, the same bytes as the service answers."""

    def __init__(self, card: Card, out: Path) -> None:
        self._card = card
        self._out = out

    def add(self, job: Job, classmap: ClassMap) -> list[Path]:
        """As Answers.add."""
        target = job.target(self._out, ".png")
        atomic.write_bytes(target, meaning(self._card.task).encode(classmap, self._card.palette))
        return [target]


class Masks:
    """`<stem>/<class>.png`: black-and-white, one for every class, found or not; as multilabel data sets store them."""

    def __init__(self, card: Card, out: Path) -> None:
        for name in card.classes:
            if "/" in name or "\\" in name:
                raise ConfigError("class names that can be names of files for --format masks", f"'{name}'")
        self._card = card
        self._out = out

    def add(self, job: Job, classmap: ClassMap) -> list[Path]:
        """As Answers.add."""
        folder = job.target(self._out, "")
        written = []
        for index, name in enumerate(self._card.classes):
            target = folder / f"{name}.png"
            there = meaning(self._card.task).mask(classmap, index)
            atomic.write_bytes(target, picture.encode_png(there.astype(np.uint8) * 255))
            written.append(target)
        return written


class Polygons:
    """`<stem>.json`: every region as a polygon with its holes."""

    def __init__(self, card: Card, out: Path) -> None:
        self._card = card
        self._out = out

    def add(self, job: Job, classmap: ClassMap) -> list[Path]:
        """As Answers.add."""
        target = job.target(self._out, ".json")
        height, width = classmap.shape
        document = {
            "image": job.source.name,
            "height": height,
            "width": width,
            "shapes": polygons(classmap, self._card.classes, meaning(self._card.task)),
        }
        atomic.write_text(target, json.dumps(document, ensure_ascii=False) + "\n")
        return [target]


class Coco:
    """`predictions.json`: COCO's images, categories and annotations, one RLE for each class of each picture."""

    def __init__(self, card: Card, out: Path) -> None:
        self._card = card
        self._target = out / "predictions.json"
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, job: Job, classmap: ClassMap) -> list[Path]:
        """As Answers.add."""
        image = len(self._images) + 1
        name = job.place.with_name(job.place.name + job.source.suffix).as_posix()
        height, width = classmap.shape
        annotations = formats.coco_annotations(classmap, image, len(self._annotations) + 1, meaning(self._card.task))
        self._images.append({"id": image, "file_name": name, "height": height, "width": width})
        self._annotations += annotations
        return [self._target]

    def write(self) -> None:
        """Write the one file, if there was any picture."""
        if self._images:
            document = {
                "images": self._images,
                "categories": formats.coco_categories(self._card),
                "annotations": self._annotations,
            }
            atomic.write_text(self._target, json.dumps(document, ensure_ascii=False) + "\n")
