"""The plain layout: images/ + masks/, flat or split into train/ val/ test/ above or below them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segx_core.datasets.dataset import Sample
from segx_core.datasets.layout import Layout, files, pair
from segx_core.datasets.masks import MASK_SUFFIXES
from segx_core.picture import PICTURE_SUFFIXES

PairUp = Callable[[Path, Path], tuple[Sample, ...]]
"""(folder of pictures, folder of masks) -> samples."""

_IMAGES = ("images", "image", "imgs", "img")
_MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation", "segmentations")
_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def look(root: Path, pair_up: PairUp | None = None) -> Layout | None:
    """Read `root` as images + masks; None where it is not. DataError as `layout.pair`, or as `pair_up` if given."""
    paired = pair_up or _pair
    images, masks = _child(root, _IMAGES), _child(root, _MASKS)
    splits: dict[str, tuple[Sample, ...]] = {}
    notes: list[str] = []
    for split, names in _SPLITS.items():
        outer = _child(root, names)
        places = [(_child(outer, _IMAGES), _child(outer, _MASKS))] if outer else []  # train/images, train/masks
        places += [(_child(images, names), _child(masks, names))] if images and masks else []  # images/train, ...
        for some_images, some_masks in places:
            if some_images and some_masks:
                splits[split] = paired(some_images, some_masks)
            elif some_images:
                notes.append(f"{some_images.relative_to(root)} has no masks beside it and is left out.")
    if not splits and images and masks:
        return Layout("images+masks", {"train": paired(images, masks)})
    return Layout("images+masks", splits, tuple(notes)) if splits else None


def _pair(images: Path, masks: Path) -> tuple[Sample, ...]:
    return pair(files(images, PICTURE_SUFFIXES), images, files(masks, MASK_SUFFIXES), masks)


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of `names` (compared without case) that is a folder in `folder`."""
    children = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    return next((children[name] for name in names if name in children), None)
