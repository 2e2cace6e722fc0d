"""The Pascal VOC layout: JPEGImages/ SegmentationClass/ ImageSets/Segmentation/*.txt.

CVAT and labelme write it too, so VOC's twenty-one classes are taken only where pictures are named as VOC's.
"""

from __future__ import annotations

import re
from pathlib import Path

from segx_core.datasets.dataset import Sample
from segx_core.datasets.labels import Labels
from segx_core.datasets.layout import Layout, files, listed
from segx_core.datasets.masks import MASK_SUFFIXES
from segx_core.errors import DataError
from segx_core.picture import PICTURE_SUFFIXES

_MASK_FOLDERS = ("SegmentationClass", "SegmentationClassPNG")
_VOC_PICTURE = re.compile(r"\d{4}_\d{6}$")


def voc_palette(n: int) -> tuple[tuple[int, int, int], ...]:
    """VOC's own colours: bits of the class index dealt out to red, green and blue (Everingham et al., devkit)."""
    out = []
    for index in range(n):
        color = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                color[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
        out.append((color[0], color[1], color[2]))
    return tuple(out)


VOC = Labels(
    classes=(
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    ),
    palette=voc_palette(21),
)  # fmt: skip


def look(root: Path) -> Layout | None:
    """Read `root` as VOC's layout; None where it is not.

    Raises:
        DataError: a list names a picture or mask that is not there.
    """
    folder = next((root / name for name in _MASK_FOLDERS if (root / name).is_dir()), None)
    if folder is None or not (root / "JPEGImages").is_dir():
        return None
    images = {path.stem: path for path in files(root / "JPEGImages", PICTURE_SUFFIXES)}
    masks = {path.stem: path for path in files(folder, MASK_SUFFIXES)}
    splits, notes = _listed(root, images, masks)
    if not splits:
        stems = sorted(masks)
        splits = {"train": _samples(stems, images, masks, f"{folder.name}/")}
        bare = len(images) - len(stems)
        notes = [f"{bare} pictures without a mask are left out."] if bare else []
    samples = [sample for part in splits.values() for sample in part]
    if not all(_VOC_PICTURE.match(sample.name) for sample in samples):
        return Layout("voc", splits, tuple(notes))
    return Layout("voc", splits, (*notes, "These are Pascal VOC's pictures: its 21 classes, 255 is ignored."), VOC)


def _listed(
    root: Path, images: dict[str, Path], masks: dict[str, Path]
) -> tuple[dict[str, tuple[Sample, ...]], list[str]]:
    """The splits that ImageSets/Segmentation lists: train, val, test; else trainval or CVAT's default as train."""
    lists = {path.stem: path for path in sorted((root / "ImageSets" / "Segmentation").glob("*.txt"))}
    chosen: list[str] = [name for name in ("train", "val", "test") if name in lists]
    if "train" not in lists and "val" not in lists:
        chosen += [name for name in ("trainval", "default") if name in lists][:1]
    splits: dict[str, tuple[Sample, ...]] = {}
    notes = []
    for name in chosen:
        stems = [Path(line.strip()).name for line in lists[name].read_text().splitlines() if line.strip()]
        stems = list(dict.fromkeys(stems))
        if not stems:
            continue
        if name == "test" and not any(stem in masks for stem in stems):
            notes.append("The test split has no masks and is left out.")
            continue
        splits["train" if name in ("trainval", "default") else name] = _samples(stems, images, masks, lists[name].name)
    return splits, notes


def _samples(stems: list[str], images: dict[str, Path], masks: dict[str, Path], where: str) -> tuple[Sample, ...]:
    if not stems:
        raise DataError("pictures and masks", f"none in {where}", "Put some there.")
    no_image = [stem for stem in stems if stem not in images]
    no_mask = [stem for stem in stems if stem not in masks]
    if no_image or no_mask:
        parts = [f"{len(no_image)} without a picture in JPEGImages ({listed(no_image)})"] if no_image else []
        parts += [f"{len(no_mask)} without a mask ({listed(no_mask)})"] if no_mask else []
        raise DataError(
            f"a picture and a mask for each name in {where}", " and ".join(parts), "Add them, or take the names out."
        )
    return tuple(Sample(stem, images[stem], masks[stem]) for stem in sorted(stems))
