"""Where COCO data lie: annotations/instances_SPLIT.json beside folders of pictures, or SPLIT/_annotations.coco.json.

It finds files and puts samples together; what is in the files is coco.py's work.
"""

from __future__ import annotations

import re
from pathlib import Path

from segx_core.datasets import coco
from segx_core.datasets.labels import Labels
from segx_core.datasets.layout import Layout, files
from segx_core.errors import DataError
from segx_core.picture import PICTURE_SUFFIXES

Sources = dict[str, tuple[Path, Path]]
"""By split: the JSON file and the folder of its pictures."""

_SPLITS = {"train": ("train", "default"), "val": ("val", "valid", "validation"), "test": ("test",)}
_BESIDE = "_annotations.coco.json"


def sources(root: Path) -> Sources:
    """What lies below `root` in one of these ways, by split; empty where nothing does."""
    found: Sources = {}
    written = sorted((root / "annotations").glob("*.json"))
    # COCO's own archive has captions and key points of the same pictures, too.
    written = [path for path in written if path.stem.startswith("instances")] or written
    for split, words in _SPLITS.items():
        for word in words:
            ending = re.compile(rf"(?:^|_){word}(\d*)$")
            for path in written:
                match = ending.search(path.stem)
                pictures = match and _pictures(root, [f"{word}{match[1]}", word])
                if pictures:
                    found.setdefault(split, (path, pictures))
            if (root / word / _BESIDE).is_file():
                found.setdefault(split, (root / word / _BESIDE, root / word))
    return found


def look(root: Path) -> Layout | None:
    """Read `root` as COCO's layout; None where it is not. DataError as coco.py's functions."""
    where = sources(root)
    return build(all_pictures(where), None) if where else None


def all_pictures(where: Sources) -> dict[str, tuple[Path, list[Path], Path]]:
    """Every source with the pictures below its folder, as `build` takes them."""
    return {split: (path, files(base, PICTURE_SUFFIXES), base) for split, (path, base) in where.items()}


def build(
    parts: dict[str, tuple[Path, list[Path], Path]], classes: tuple[str, ...] | None, ignore: int | None = None
) -> Layout:
    """A layout of drawn masks.

    Args:
        parts: by split the JSON file, the pictures, and the folder that paths in the file are relative to.
        classes: names in order of their index; None takes background and all categories.
        ignore: value of pixels of no class; None takes the usual one.
    """
    read = {split: coco.read(path) for split, (path, _, _) in parts.items()}
    labels = coco.labels(list(read.values()), classes)
    if ignore is not None and ignore >= len(labels.classes):  # another one is refused where the yaml is checked
        labels = Labels(labels.classes, labels.palette, ignore, labels.encoding, labels.notes)
    splits = {
        split: coco.samples(read[split], images, base, labels.classes, labels.ignore_index)
        for split, (_, images, base) in parts.items()
    }
    return Layout("coco", splits, (), labels)


def found_or_refused(root: Path) -> Sources:
    """As `sources`, where a dataset.yaml says that there is something. DataError: nothing is."""
    where = sources(root)
    if not where:
        raise DataError(
            f"annotations/instances_train.json or train/{_BESIDE} in {root}, where masks.encoding is 'coco'",
            "neither",
            "Say where they are: splits: {train: {images: pictures/*.jpg, masks: train.json}}.",
        )
    return where


def _pictures(root: Path, names: list[str]) -> Path | None:
    places = [base / name for name in names for base in (root / "images", root)]
    return next((place for place in [*places, root / "images"] if place.is_dir()), None)
