"""How sure a difference in mIoU is when the pictures are frames of a film: the bootstrap over blocks of frames.

Neighbouring frames show the same things, so drawing single frames would promise too much. Blocks of consecutive frames
of one drive are drawn instead (Kuensch 1989, without overlap). What it tells of: other seconds of the same drives. It
knows neither other drives nor the noise of training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segx_core.confusion import ratio

_FRAME = re.compile(r"(?P<drive>[^_]+)_f?(?P<number>\d+)")  # 0016E5_07959, 0001TP_006690, Seq05VD_f00000
_DRAWS_AT_ONCE = 500  # 500 x 11 x 11 int64 are half a megabyte
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A difference with its 95 % interval."""

    difference: float
    low: float
    high: float
    blocks: int


def drive_and_number(name: str) -> tuple[str, int]:
    """CamVid's drive and the frame's number in it.

    Raises:
        ValueError: the name is not one of CamVid's.
    """
    match = _FRAME.match(name)
    if match is None:
        raise ValueError(f"expected a name such as 0016E5_07959, got '{name}'")
    return match["drive"], int(match["number"])


def frame_blocks(names: Sequence[str], length: int) -> list[list[int]]:
    """Places in `names`, cut into blocks of about `length` consecutive frames of one drive.

    A drive is cut into equal parts, one frame more or less, rather than leave a short rest.
    """
    drives: dict[str, list[tuple[int, int]]] = {}
    for place, name in enumerate(names):
        drive, number = drive_and_number(name)
        drives.setdefault(drive, []).append((number, place))
    blocks = []
    for drive in sorted(drives):
        places = np.array([place for _, place in sorted(drives[drive])])
        blocks += [part.tolist() for part in np.array_split(places, max(1, round(len(places) / length)))]
    return blocks


def mious(matrices: Counts) -> NDArray[np.float64]:
    """Mean IoU of each of (N, K, K) matrices over the classes their target has; NaN where it has none."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)  # (N, K)
    there, found = matrices.sum(axis=2), matrices.sum(axis=1)
    each = ratio(hits, there + found - hits)
    present = there > 0
    return ratio(np.where(present, each, 0.0).sum(axis=1), present.sum(axis=1))


def difference(first: Counts, second: Counts, blocks: Sequence[Sequence[int]], draws: int, seed: int = 0) -> Interval:
    """mIoU of `second` minus that of `first` on the same frames, and the middle 95 % of what redrawn blocks give.

    Args:
        first: (N, K, K) counts of one model, a matrix a frame.
        second: those of the other one; every draw takes the same blocks of both.
        blocks: as `frame_blocks` cuts them.
        draws: how often as many blocks as there are are drawn, with replacement.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    sums = [np.stack([counts[list(block)].sum(axis=0) for block in blocks]) for counts in (first, second)]
    found = []
    for start in range(0, draws, _DRAWS_AT_ONCE):
        shape = (min(_DRAWS_AT_ONCE, draws - start), len(blocks))
        times = _occurrences(generator.integers(len(blocks), size=shape), len(blocks))
        one, other = (mious(np.tensordot(times, counts, axes=1)) for counts in sums)
        found.append(other - one)
    low, high = np.nanpercentile(np.concatenate(found), [2.5, 97.5])
    whole = [float(mious(counts.sum(axis=0, keepdims=True))[0]) for counts in (first, second)]
    return Interval(whole[1] - whole[0], float(low), float(high), len(blocks))


def _occurrences(chosen: NDArray[np.int64], count: int) -> Counts:
    """(D, B) draws of block numbers -> (D, `count`) how often each block was drawn."""
    rows = np.arange(len(chosen))[:, None] * count
    return np.bincount((rows + chosen).ravel(), minlength=len(chosen) * count).reshape(len(chosen), count)
