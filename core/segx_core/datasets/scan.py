"""What stands in the label maps of a split: pixels by class and picture, ignored pixels, sizes, and where to find each.

One pass over the masks, remembered in the cache folder until a mask changes. It reads no picture and judges nothing:
weights, sampling and complaints are made of it elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segx_core import atomic, bits
from segx_core.cores import cores
from segx_core.datasets import multilabel
from segx_core.datasets.dataset import Dataset, Sample
from segx_core.datasets.scenes import cache_folder
from segx_core.errors import SetupError
from segx_core.progress import console, track

PLACES = 16
"""Pixels remembered of each class in each picture."""

_FORM = 1  # of the files in the cache; another number whenever they or their meaning change
_KEPT = "scans"  # folder in the cache


@dataclass(frozen=True)
class Found:
    """One class in one label map, or all of them, row by row."""

    classes: NDArray[np.int64]
    """(M,) classes that occur, rising."""
    pixels: NDArray[np.int64]
    """(M,) pixels of each, at least 1."""
    places: NDArray[np.int32]
    """(M, PLACES, 2) row and column of pixels of each, spread over it."""
    ignored: int
    """Pixels that are neither learnt nor counted."""
    size: tuple[int, int]
    """(height, width)."""


@dataclass(frozen=True)
class Scan:
    """The label maps of a split of N samples, in their order. Rows are pairs of a picture and a class it holds."""

    num_classes: int
    rows: NDArray[np.int64]
    """(M,) index of the sample, rising."""
    classes: NDArray[np.int64]
    """(M,) class."""
    pixels: NDArray[np.int64]
    """(M,) pixels of that class in that sample."""
    places: NDArray[np.int32]
    """(M, PLACES, 2) row and column of some of them."""
    ignored: NDArray[np.int64]
    """(N,) ignored pixels."""
    sizes: NDArray[np.int64]
    """(N, 2) height and width."""

    def __len__(self) -> int:
        return len(self.ignored)

    @property
    def labelled(self) -> NDArray[np.int64]:
        """(N,) pixels that count."""
        counted: NDArray[np.int64] = self.sizes[:, 0] * self.sizes[:, 1] - self.ignored
        return counted

    @property
    def class_pixels(self) -> NDArray[np.int64]:
        """(K,) pixels of each class."""
        out = np.zeros(self.num_classes, np.int64)
        np.add.at(out, self.classes, self.pixels)
        return out

    @property
    def class_pictures(self) -> NDArray[np.int64]:
        """(K,) pictures that hold each class."""
        return np.bincount(self.classes, minlength=self.num_classes).astype(np.int64)

    @property
    def pixels_beside(self) -> NDArray[np.int64]:
        """(K,) labelled pixels of the pictures that hold each class."""
        out = np.zeros(self.num_classes, np.int64)
        np.add.at(out, self.classes, self.labelled[self.rows])
        return out

    @property
    def shares(self) -> NDArray[np.float64]:
        """(K,) share of the labelled pixels that each class has; zeros where nothing is labelled.

        They add up to 1, but not for multilabel data, where pixels have any number of classes.
        """
        shares: NDArray[np.float64] = self.class_pixels / max(1, int(self.labelled.sum()))
        return shares


def scan(data: Dataset, split: str) -> Scan:
    """Scan a split, or remember what an earlier scan of the same masks found.

    Raises:
        DataError: no such split, or a mask that cannot be read.
    """
    samples = data.split(split)
    path = cache_folder() / _KEPT / f"{_key(data, samples)}.npz"
    known = _load(path, len(data.classes))
    if known is not None:
        return known
    with ThreadPoolExecutor(max_workers=min(4, cores())) as pool:
        try:
            found = list(track(pool.map(lambda sample: look(data, sample), samples), f"count classes of {split}",
                               len(samples), "masks"))  # fmt: skip
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    fresh = gather(found, len(data.classes))
    try:
        with atomic.replacing(path) as temporary:
            np.savez_compressed(temporary, **{name: getattr(fresh, name) for name in _arrays()})
    except SetupError as error:
        console().print(f"The count cannot be kept for the next time: {error}", markup=False, soft_wrap=True)
    return fresh


def look(data: Dataset, sample: Sample) -> Found:
    """Count one label map. DataError as `Dataset.read_mask`."""
    return count(data.read_mask(sample), data)


def count(mask: NDArray[Any], data: Dataset) -> Found:
    """Count one label map that has been read.

    Args:
        mask: (H, W) class indices or bit fields, as `Dataset.read` gives them.
        data: says which value is ignored, and which of the two it is.
    """
    flat = mask.reshape(-1)
    ignored = int(np.count_nonzero(flat == data.ignore_index))
    if data.task == "multilabel":
        where = [np.flatnonzero(bits.plane(flat, bit)) for bit in range(len(data.classes))]
    else:
        order = np.argsort(flat, kind="stable")
        ends = np.searchsorted(flat[order], np.arange(len(data.classes) + 1))
        where = [order[first:last] for first, last in pairwise(ends)]
    there = [index for index, pixels in enumerate(where) if len(pixels)]
    spots = np.stack([_some(where[index]) for index in there]) if there else np.zeros((0, PLACES), np.int64)
    places = np.stack(np.divmod(spots, mask.shape[1]), axis=-1).astype(np.int32)
    pixels = np.array([len(where[index]) for index in there], np.int64)
    return Found(np.array(there, np.int64), pixels, places, ignored, (mask.shape[0], mask.shape[1]))


def gather(found: Sequence[Found], num_classes: int) -> Scan:
    """Many counts as one."""
    return Scan(
        num_classes,
        rows=np.repeat(np.arange(len(found)), [len(one.classes) for one in found]).astype(np.int64),
        classes=_joined((one.classes for one in found), np.zeros(0, np.int64)),
        pixels=_joined((one.pixels for one in found), np.zeros(0, np.int64)),
        places=_joined((one.places for one in found), np.zeros((0, PLACES, 2), np.int32)),
        ignored=np.array([one.ignored for one in found], np.int64),
        sizes=np.array([one.size for one in found], np.int64).reshape(-1, 2),
    )


def _some(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """One pixel out of each of PLACES even stretches of a rising list; a short list repeats itself."""
    draws = np.random.default_rng(len(pixels)).random(PLACES)  # even steps would line up with the picture's columns
    at = ((np.arange(PLACES) + draws) * len(pixels) / PLACES).astype(np.int64)
    return pixels[np.minimum(at, len(pixels) - 1)]


def _joined(parts: Iterable[NDArray[Any]], empty: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([empty, *parts])


def _arrays() -> list[str]:
    return [field.name for field in fields(Scan) if field.name != "num_classes"]


def _key(data: Dataset, samples: Sequence[Sample]) -> str:
    """Changes with the data's fingerprint, the order of the samples, and the time a mask was last written.

    The time, because a mask stored without compression keeps its size when somebody corrects it.
    """
    record = [_FORM, data.fingerprint(), [[sample.name, *_written(sample.mask)] for sample in samples]]
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()


def _written(mask: Path) -> list[int]:
    if mask.is_dir():
        return [(mask / name).stat().st_mtime_ns for name, _ in multilabel.facts(mask)]
    return [mask.stat().st_mtime_ns]


def _load(path: Path, num_classes: int) -> Scan | None:
    """What the cache holds under that name; None where that is nothing, or nothing whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return Scan(num_classes, **{name: stored[name] for name in _arrays()})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        console().print(f"{path} is damaged and made anew: {error}", markup=False, soft_wrap=True)
        return None
