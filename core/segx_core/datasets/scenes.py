"""The built-in data set `scenes`: patchwork hills, floating shapes, powerlines and beacons, made on this machine.

Hills share their colours and are told apart by texture only; so do balloons and stars, rings and tents, which differ
in outline only. Beacons are rare, powerlines thin, and the test split is painted with textures that train and val never
show. Writes ordinary files once into the cache; reading them back is the business of whoever reads any other folder.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from segx_core.datasets.scenes_maker import describe
from segx_core.datasets.scenes_render import IGNORE, render
from segx_core.datasets.scenes_world import CLASSES
from segx_core.errors import SetupError
from segx_core.progress import track

VERSION = "scenes-v1"
"""Name of the folder in the cache; another name whenever the pictures change."""

DESCRIPTION = "dataset.yaml"
SEED = 20
HEIGHT, WIDTH = 96, 128
COUNTS = {"train": 540, "val": 96, "test": 96}
"""Pictures in each split."""

ABANDONED_S = 3600
"""Age in seconds at which a half-made folder belongs to nobody any more; making one takes well under a minute."""

PALETTE: tuple[tuple[int, int, int], ...] = (
    (135, 190, 235),
    (96, 160, 70),
    (214, 180, 84),
    (24, 104, 84),
    (220, 60, 60),
    (250, 150, 40),
    (250, 232, 90),
    (56, 78, 200),
    (40, 40, 50),
    (255, 0, 200),
)
"""Colours of the classes in the masks, in the order of `CLASSES`."""


def generate(
    seed: int, index: int, split: str, height: int = HEIGHT, width: int = WIDTH
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture number `index` of a split: the picture (H, W, 3) uint8 RGB and its labels (H, W) uint8, 255 ignored.

    Depends on nothing but the arguments, so that pictures can be made in any order, one by one or all at once.

    Raises:
        ValueError: the split is none of train, val and test.
    """
    return render(describe(seed, index, split, height, width))


def cache_folder() -> Path:
    """Where segx keeps what it can make again: $SEGX_CACHE, else ~/.cache/segx."""
    named = os.environ.get("SEGX_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "segx"


def ensure_scenes(cache: Path | None = None) -> Path:
    """The folder of the data set, made first if the cache has none: {train,val,test}/{images,masks} and dataset.yaml.

    The folder appears under its name only when complete. Processes that need it at the same time each make one and
    the first to finish wins; the contents are the same.

    Raises:
        SetupError: the cache cannot be written: no permission, no space.
    """
    final = (cache_folder() if cache is None else cache) / VERSION
    if not (final / DESCRIPTION).is_file():
        make_scenes(final, SEED, COUNTS)
    return final


def make_scenes(final: Path, seed: int, counts: Mapping[str, int]) -> None:
    """Make a data set like `scenes` with `counts[split]` pictures a split; `final` appears only when complete.

    Raises:
        SetupError: the parent of `final` cannot be written, or `final` is there already and is something else.
    """
    making = final.with_name(f".{final.name}-{uuid.uuid4().hex}")
    try:
        making.mkdir(parents=True)
        write_scenes(making, seed, counts)
        _publish(making, final)
    except OSError as error:
        raise SetupError(
            f"to write about 40 MB of generated pictures at {final}",
            f"{type(error).__name__}: {error}",
            "Free some space, remove what is in the way, or name another folder in SEGX_CACHE.",
        ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    for left in final.parent.glob(f".{final.name}-*"):  # of processes killed on the way
        with suppress(FileNotFoundError):  # its maker just finished
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)


def write_scenes(folder: Path, seed: int, counts: Mapping[str, int]) -> None:
    """Write `counts[split]` pictures of each split and dataset.yaml into an existing folder.

    Raises:
        OSError: the folder cannot be written.
    """
    for split in counts:
        (folder / split / "images").mkdir(parents=True)
        (folder / split / "masks").mkdir()
    jobs = [(split, index) for split, count in counts.items() for index in range(count)]
    for split, index in track(jobs, "making scenes", unit="pictures"):
        picture, labels = generate(seed, index, split)
        name = f"{split}_{index:04d}.png"
        Image.fromarray(picture).save(folder / split / "images" / name)
        mask = Image.fromarray(labels)
        mask.putpalette(_palette_bytes())
        mask.save(folder / split / "masks" / name)
    text = yaml.safe_dump(_description(list(counts)), sort_keys=False, default_flow_style=None)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def _publish(made: Path, final: Path) -> None:
    try:
        made.replace(final)
    except OSError:
        if not (final / DESCRIPTION).is_file():  # nobody else finished first
            raise


def _palette_bytes() -> bytes:
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(PALETTE)] = PALETTE
    colours[IGNORE] = 255
    return colours.tobytes()


def _description(splits: list[str]) -> dict[str, object]:
    return {
        "root": ".",
        "classes": list(CLASSES),
        "ignore": IGNORE,
        "masks": {"encoding": "index", "palette": {name: list(c) for name, c in zip(CLASSES, PALETTE, strict=True)}},
        "splits": {split: {"images": f"{split}/images/*.png", "masks": f"{split}/masks/*.png"} for split in splits},
    }
