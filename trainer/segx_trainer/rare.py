"""Draws pictures, and places in them, so that rare classes are seen more often than they occur.

As every plan it needs no state: each draw follows from (seed, step, place in the batch). It cuts nothing: a visit
carries the pixel that its crop is to hold, and augment.py's crop does the rest.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from segx_core.datasets.scan import PLACES, Scan
from segx_core.errors import ConfigError
from segx_trainer.loading import Plan, Visit

_STREAM = 0x5A3E  # sets these draws apart from those of an epoch's order and of a visit's augmentation


def class_chances(scan: Scan, temperature: float) -> NDArray[np.float64]:
    """How often each class is drawn: softmax((1 - f) / T) over the classes that occur, f their share of the pixels.

    Rare class sampling (Hoyer et al. 2022, DAFormer, arXiv:2111.14887, which takes T = 0.01).

    Returns:
        (K,) adding up to 1; 0 for a class that does not occur.

    Raises:
        ConfigError: no class occurs.
    """
    there = scan.class_pixels > 0
    if not there.any():
        raise ConfigError("labelled pixels in the training split for sampler 'rare'", "none")
    with np.errstate(over="ignore"):  # a temperature near 0 leaves the rarest class alone
        scaled = (scan.shares[there].min() - scan.shares) / temperature  # at most 0 where there
    chances = np.where(there, np.exp(np.minimum(scaled, 0.0)), 0.0)
    normal: NDArray[np.float64] = chances / chances.sum()
    return normal


class RarePlan(Plan):
    """A plan in which `share` of the visits are drawn for a class; the others stay as in `Plan`.

    Such a visit draws a class by `class_chances`, then one of the pictures that hold it, each alike, then one of the
    pixels of it that the scan remembers. The other visits keep their places in the epoch's order, so that no picture
    and no frequent class goes unseen.
    """

    def __init__(self, plain: Plan, scan: Scan, share: float, temperature: float) -> None:
        vars(self).update(vars(plain))  # it is that plan, whatever belongs to one, with other batches
        self.scan = scan
        self.share = share
        self.chances = np.cumsum(class_chances(scan, temperature))
        order = np.argsort(scan.classes, kind="stable")
        ends = np.searchsorted(scan.classes[order], np.arange(scan.num_classes + 1))
        self.holders = [order[first:last] for first, last in pairwise(ends)]
        """For each class the rows of the scan that are of it."""

    def batch(self, step: int) -> list[Visit]:
        """As `Plan.batch`, with some visits drawn anew."""
        visits = super().batch(step)
        return [self._visit(visit, step, slot, draw=1 + step * len(visits) + slot) for slot, visit in enumerate(visits)]

    def _visit(self, visit: Visit, step: int, slot: int, draw: int) -> Visit:
        random = np.random.default_rng([self.seed, step, slot, _STREAM])
        if random.random() >= self.share:
            return visit
        # The last class that occurs takes what rounding leaves of the sum below 1.
        drawn = int(np.searchsorted(self.chances, random.random() * self.chances[-1], side="right"))
        row = int(self.holders[drawn][random.integers(len(self.holders[drawn]))])
        y, x = (int(value) for value in self.scan.places[row, random.integers(PLACES)])
        return Visit(visit.epoch, int(self.scan.rows[row]), focus=(y, x), draw=draw)
