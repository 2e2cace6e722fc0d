"""A data set of square crops from another one, so that files of a fixed size and files of any size see the same pixels.

train: the centre of each picture, to calibrate on. val: two opposite corners of each; where they overlap, pixels
count twice. It writes a folder that `segx` itself can open.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segx_core.datasets import Dataset, open_dataset, spread
from segx_core.progress import track

TILES = {"train": ("centre",), "val": ("top-left", "bottom-right")}


def make_tiles(source: Dataset, side: int, folder: Path, pictures: int | None = None) -> Dataset:
    """Write the crops where they are not there yet.

    Args:
        source: with splits train and val; pictures at least `side` x `side`.
        side: of a crop.
        folder: for the new data set.
        pictures: at most so many of the source's a split, spread evenly; None: all.
    """
    if not (folder / "dataset.yaml").is_file():
        for split, names in TILES.items():
            for kind in ("images", "masks"):
                (folder / split / kind).mkdir(parents=True, exist_ok=True)
            for sample in track(spread(source.split(split), pictures), f"cropping {split}", unit="pictures"):
                for kind, pixels in zip(("images", "masks"), source.read(sample), strict=True):
                    for name in names:
                        top, left = corner(name, pixels.shape[0], pixels.shape[1], side)
                        crop = pixels[top : top + side, left : left + side]
                        Image.fromarray(np.ascontiguousarray(crop)).save(
                            folder / split / kind / f"{sample.name}-{name}.png"
                        )
        lines = [f"classes: [{', '.join(source.classes)}]", f"ignore: {source.ignore_index}", "splits:"]
        lines += [f"  {split}: {{images: {split}/images/*.png, masks: {split}/masks/*.png}}" for split in TILES]
        (folder / "dataset.yaml").write_text("\n".join(lines) + "\n")  # last: it says that the rest is whole
    return open_dataset(folder)


def corner(name: str, height: int, width: int, side: int) -> tuple[int, int]:
    """Top and left of a crop."""
    if name == "centre":
        return (height - side) // 2, (width - side) // 2
    down, across = name.split("-")
    return (height - side if down == "bottom" else 0), (width - side if across == "right" else 0)


def stack(data: Dataset, split: str, most: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures (N, S, S, 3) and class maps (N, S, S) of a split of crops, at most `most`, spread evenly."""
    pairs = [data.read(sample) for sample in spread(data.split(split), most)]
    return np.stack([picture for picture, _ in pairs]), np.stack([target for _, target in pairs])
