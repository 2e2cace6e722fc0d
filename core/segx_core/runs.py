"""All classes of a class map at once, as runs: area, box and run lengths of each without looking at every pixel again.

The map is read once, column by column as COCO has it; what follows takes time by the number of runs, not by classes
times pixels. Knows nothing of what classes mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segx_core import rle
from segx_core.runner import ClassMap

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Where one class lies. Pixels are numbered column by column: (row, column) is `column * height + row`."""

    size: tuple[int, int]
    """(H, W) of the class map."""
    starts: Positions
    """(R,) number of the first pixel of each run, ascending; at least one run."""
    ends: Positions
    """(R,) one past its last pixel; less than the next start."""

    @property
    def area(self) -> int:
        """Pixels."""
        return int((self.ends - self.starts).sum())

    @property
    def box(self) -> list[int]:
        """[left, top, width, height] in pixels of the smallest box around it, as COCO's `bbox`."""
        height = self.size[0]
        first, last = self.starts // height, (self.ends - 1) // height
        # A run that goes on in the next column touches the bottom of one and the top of the other.
        within = first == last
        top = int(np.where(within, self.starts % height, 0).min())
        bottom = int(np.where(within, (self.ends - 1) % height, height - 1).max())
        left = int(first[0])
        return [left, top, int(last[-1]) - left + 1, bottom - top + 1]

    def rle(self) -> rle.Rle:
        """COCO's compressed run lengths, equal to `rle.encode` of its mask."""
        return rle.from_runs(self.starts, self.ends, self.size)


def by_class(classmap: ClassMap) -> dict[int, Runs]:
    """Every class that is in a class map -> its runs, in the order of the indices.

    Args:
        classmap: (H, W) class indices.
    """
    height, width = classmap.shape
    if not classmap.size:
        return {}
    flat = np.ascontiguousarray(classmap.T).ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    order = np.argsort(values, kind="stable")  # stable: runs of one class stay in their order
    sorted_values = values[order]
    cuts = np.flatnonzero(sorted_values[1:] != sorted_values[:-1]) + 1
    return {int(values[own[0]]): Runs((height, width), starts[own], ends[own]) for own in np.split(order, cuts)}
