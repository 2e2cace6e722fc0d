"""Masks of multilabel data, where a pixel may belong to several classes at once: how they lie on the disk, and reading.

Two ways to store them, told apart by looking: a folder of black-and-white masks for each picture,
`masks/<picture>/<class>.png`, a class without a file being nowhere in it; or one PNG of bit fields for each picture,
`masks/<picture>.png`, 8 or 16 bit, bit k for class k. Pixels that are neither learnt nor counted are white in
`ignore.png`, or have the bit after the last class. It infers no classes: their order is the order of the bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from segx_core import bits
from segx_core.card import MOST_LABELS
from segx_core.datasets.masks import MASK_SUFFIXES, grey, load
from segx_core.errors import DataError, near
from segx_core.runner import ClassMap

IGNORE = "ignore"
"""Stem of the mask, beside those of the classes, whose white pixels are neither learnt nor counted."""

_WHITE = (1, 255, 65535)


def check_classes(classes: tuple[str, ...], source: str) -> None:
    """Refuse class lists that masks of this kind cannot hold.

    Raises:
        DataError: too many, or a name that is taken or cannot be a file's.
    """
    if len(classes) > MOST_LABELS:
        raise DataError(
            f"at most {MOST_LABELS} classes in {source} for multilabel masks",
            str(len(classes)),
            "Classes that exclude each other can be learnt apart, as a multiclass data set.",
        )
    for name in classes:
        if name == IGNORE or "/" in name or "\\" in name:
            raise DataError(
                f"names of multilabel classes in {source} that can be names of files, other than '{IGNORE}'",
                f"'{name}'",
                "Rename the class.",
            )


def read(path: Path, classes: tuple[str, ...], ignore_index: int) -> ClassMap:
    """Read the masks of one picture.

    Args:
        path: a folder of black-and-white masks, or a PNG of bit fields.
        classes: K names.
        ignore_index: the value that ignored pixels get; `bits.ignored(K)`.

    Returns:
        (H, W) bit fields, bit k for class k, or `ignore_index`: uint8 up to 7 classes, uint16 up to 15, else uint32.

    Raises:
        DataError: unreadable, of no class, of unlike sizes, or holding values that make no sense.
    """
    fields, blank = _from_folder(path, classes) if path.is_dir() else _from_bits(path, classes)
    narrow = next(kind for kind in (np.uint8, np.uint16, np.uint32) if ignore_index <= np.iinfo(kind).max)
    target: NDArray[Any] = fields.astype(narrow)
    target[blank] = ignore_index
    return cast(ClassMap, target)


def facts(path: Path) -> list[tuple[str, int]]:
    """Names and sizes of the files that `read` would look at in a folder, for fingerprints."""
    return [(one.name, one.stat().st_size) for one in _masks(path)]


def _masks(folder: Path) -> list[Path]:
    shown = (one for one in folder.iterdir() if one.is_file() and not one.name.startswith("."))
    return sorted(one for one in shown if one.suffix.lower() in MASK_SUFFIXES)


def _from_folder(folder: Path, classes: tuple[str, ...]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    found: dict[str, Path] = {}
    for path in _masks(folder):
        if path.stem not in classes and path.stem != IGNORE:
            raise DataError(
                f"masks named after classes, or '{IGNORE}', in {folder}",
                path.name,
                near(path.stem, [*classes, IGNORE]),
            )
        if path.stem in found:
            raise DataError(f"one mask for '{path.stem}' in {folder}", f"{found[path.stem].name} and {path.name}")
        found[path.stem] = path
    if not found:
        raise DataError(
            f"at least one mask in {folder}", "none", "A picture that shows none of the classes needs one black mask."
        )
    planes = {name: _plane(path) for name, path in found.items()}
    first = next(iter(planes.values()))
    for name, plane in planes.items():
        if plane.shape != first.shape:
            raise DataError(
                f"masks of one size in {folder}",
                f"{first.shape} and {plane.shape} in {found[name].name} (height, width)",
            )
    nowhere = np.zeros(first.shape, np.bool_)
    return bits.pack(np.stack([planes.get(name, nowhere) for name in classes])), planes.get(IGNORE, nowhere)


def _plane(path: Path) -> NDArray[np.bool_]:
    values = grey(load(path))
    if values is None:
        raise DataError("black-and-white masks, one channel", f"a coloured picture, {path}", "Save it as grey.")
    there: NDArray[np.bool_] = values != 0
    strange = there & ~np.isin(values, _WHITE)
    if strange.any():
        worst = int(values[strange][0])
        raise DataError(
            "black-and-white masks, 0 for absent and 255 for there",
            f"{worst} on {int((values == worst).sum())} pixels of {path}",
            "Values between come from smoothing or resizing: threshold the masks.",
        )
    return there


def _from_bits(path: Path, classes: tuple[str, ...]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values = grey(load(path))
    if values is None:
        raise DataError(
            "multilabel masks as bit fields, one channel of 8 or 16 bit",
            f"a coloured picture, {path}",
            "Or store a folder for each picture, with one black-and-white mask a class.",
        )
    ignored = bits.ignored(len(classes))
    wrong = values.astype(np.uint32) >= 2 * ignored
    if wrong.any():
        worst = int(values[wrong].max())
        raise DataError(
            f"bit fields of {len(classes)} classes and the bit {len(classes)} for ignored pixels, below {2 * ignored}",
            f"{worst} on {int((values == worst).sum())} pixels of {path}",
            "Bit k of a pixel's value is class k of the list. Are these class indices, one a pixel? Then they are no "
            "multilabel masks: leave masks.encoding out.",
        )
    return values, (values.astype(np.uint32) & ignored) != 0
