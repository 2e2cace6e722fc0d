"""CamVid cut differently, in a work folder: a drive held out, fewer pictures, half the size.

Pictures are linked where they stay as they are, never copied. All folders have CamVid's layout, so that every reader
understands them as it does the original.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.train.blocks import drive_and_number
from segx_core import atomic
from segx_core.cv import cv2
from segx_core.datasets import Dataset, Sample, open_dataset

_DONE = ".complete"


def link(folder: Path, splits: Mapping[str, Sequence[Sample]]) -> Path:
    """`folder` with links to the pictures and masks of each split."""
    for split, samples in splits.items():
        for place, paths in (
            (split, [one.image for one in samples]),
            (f"{split}annot", [one.mask for one in samples]),
        ):
            (folder / place).mkdir(parents=True, exist_ok=True)
            for path in paths:
                target = folder / place / path.name
                if not target.exists():
                    target.symlink_to(path.resolve())
    return folder


def hold_out(data: Dataset, drive: str, folder: Path) -> Path:
    """Train without one drive; the drive is the split `test`, and `val`, which the best weights are chosen by, stays.

    Raises:
        SystemExit: the training pictures have no such drive, or no other one.
    """
    train = data.split("train")
    held = [one for one in train if drive_and_number(one.name)[0] == drive]
    kept = [one for one in train if drive_and_number(one.name)[0] != drive]
    if not held or not kept:
        known = sorted({drive_and_number(one.name)[0] for one in train})
        raise SystemExit(f"expected one of the drives {', '.join(known)} to hold out, got '{drive}'")
    return link(folder, {"train": kept, "val": data.split("val"), "test": held})


def every_sixth(data: Dataset, count: int, folder: Path) -> Path:
    """The first `count` of every sixth training picture, and all of `val`."""
    return link(folder, {"train": data.split("train")[::6][:count], "val": data.split("val")})


def halve(source: str, folder: Path) -> Path:
    """Pictures and label maps of both splits at half their size: means of four pixels, labels of one of the four.

    So training and validation see things at the same size. Done once; a folder that is complete is left alone.
    """
    if (folder / _DONE).is_file():
        return folder
    data = open_dataset(source)
    for split in ("train", "val"):
        for sample in data.split(split):
            image, mask = data.read(sample)
            half = (image.shape[1] // 2, image.shape[0] // 2)
            small = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
            labels = cv2.resize(mask, half, interpolation=cv2.INTER_NEAREST_EXACT)
            for place, pixels in ((split, small[..., ::-1]), (f"{split}annot", labels)):
                (folder / place).mkdir(parents=True, exist_ok=True)
                name = f"{sample.name}.png"
                if not cv2.imwrite(str(folder / place / name), pixels):
                    raise SystemExit(f"expected to write {folder / place / name}, got no file; is the disk full?")
    atomic.write_text(folder / _DONE, "")
    return folder
