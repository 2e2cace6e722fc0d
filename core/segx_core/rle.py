"""COCO's compressed run-length form of one binary mask, both ways, without a Python loop over runs.

Pixels are read column by column; runs alternate between 0 and 1 and begin with 0. From the fourth run on, the
difference to the run two before is kept; every number is cut into groups of five bits, lowest first, with a
continuation bit, and written as one printable character a group (pycocotools' `rleToString`). Knows nothing of classes.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from segx_core.errors import DataError

_GROUP = 5
_VALUE, _SIGN, _MORE, _FIRST = 0x1F, 0x10, 0x20, 48
# A run is at most 2^32 pixels in pycocotools (uint32), so a signed difference fits in seven groups of five bits.
_LONGEST = 7


class Rle(TypedDict):
    """The object that pycocotools and COCO's files call a compressed RLE."""

    size: list[int]
    """[height, width] in pixels."""
    counts: str
    """The runs as printable ASCII."""


def encode(mask: NDArray[np.bool_]) -> Rle:
    """One mask as compressed RLE.

    Args:
        mask: (H, W) bool.
    """
    height, width = mask.shape
    flat = np.ascontiguousarray(mask.T, dtype=np.bool_).ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(edges, prepend=0, append=flat.size)
    if flat.size and flat[0]:
        runs = np.concatenate(([0], runs))
    return {"size": [int(height), int(width)], "counts": _write(runs) if flat.size else ""}


def from_runs(starts: NDArray[np.int64], ends: NDArray[np.int64], size: tuple[int, int]) -> Rle:
    """The compressed RLE of the mask whose runs of ones are given.

    Args:
        starts: (R,) number of each run's first pixel, pixels counted column by column; ascending.
        ends: (R,) one past each run's last pixel; less than the next start.
        size: (H, W).
    """
    height, width = size
    edges = np.stack([starts, ends], axis=1).ravel()
    runs = np.diff(edges, prepend=0, append=height * width)
    if runs[-1] == 0:
        runs = runs[:-1]
    return {"size": [height, width], "counts": _write(runs) if height * width else ""}


def decode(rle: Rle) -> NDArray[np.bool_]:
    """The mask of a compressed RLE.

    Returns:
        (H, W) bool.

    Raises:
        DataError: the string is no compressed RLE, or its runs do not fill the size.
    """
    height, width = rle["size"]
    runs = _read(rle["counts"])
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise DataError(
            f"runs that add up to {height} x {width} = {height * width} pixels",
            f"runs that add up to {int(runs.sum())}",
            "The RLE is damaged or belongs to a picture of another size.",
        )
    flat = np.repeat(np.arange(runs.size) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def _write(runs: NDArray[np.int64]) -> str:
    rest = runs.astype(np.int64)
    rest[3:] -= runs[1:-2]
    groups = np.zeros((rest.size, _LONGEST), np.uint8)
    used = np.zeros((rest.size, _LONGEST), np.bool_)
    more = np.ones(rest.size, np.bool_)
    for position in range(_LONGEST):
        used[:, position] = more
        value = rest & _VALUE
        rest >>= _GROUP
        # A number ends at the group whose sign bit already says what all higher bits are.
        more = more & np.where(value & _SIGN, rest != -1, rest != 0)
        groups[:, position] = value + _MORE * more + _FIRST
        if not more.any():
            break
    return groups[used].tobytes().decode("ascii")


def _read(text: str) -> NDArray[np.int64]:
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - _FIRST
    if codes.size == 0:
        return np.zeros(0, np.int64)
    last = (codes & _MORE) == 0
    starts = np.flatnonzero(np.concatenate(([True], last[:-1])))
    position = np.arange(codes.size) - np.repeat(starts, np.diff(starts, append=codes.size))
    if not last[-1] or codes.min() < 0 or codes.max() >= 2 * _MORE or position.max() >= _LONGEST:
        raise DataError("a compressed COCO RLE", f"'{text[:40]}'", "Write it with segx or pycocotools.")
    values = np.add.reduceat((codes & _VALUE) << (_GROUP * position), starts)
    ends = np.flatnonzero(last)
    values -= np.where(codes[ends] & _SIGN, 1 << (_GROUP * (position[ends] + 1)), 0)
    # Undo the differences: every second number from the second on, and from the third on, is a running sum.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
