"""Steps that join several training pictures into one. Labels move with their pixels, bit fields whole.

A partner is drawn from the training pictures and goes through the steps before the mix (`before`: window, flips, warp),
so that it stands as it would in a visit of its own. Colour comes after, once for the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segx_trainer.augment import policy
from segx_trainer.augment.draw import Draw, Pair, Transform
from segx_trainer.augment.pixels import rectangle


@dataclass(frozen=True)
class Cut:
    """CutMix (arXiv:1905.04899): a rectangle of the partner, at its own place."""

    settings: policy.CutMix
    before: tuple[Transform, ...]

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw) -> Pair:
        """Lay the rectangle over the picture."""
        other, labels = draw.partner(self.before)
        rows, columns = rectangle(mask.shape, self.settings.area, draw)
        image, mask = image.clone(), mask.clone()
        image[:, rows, columns] = other[:, rows, columns]
        mask[rows, columns] = labels[rows, columns]
        return image, mask


@dataclass(frozen=True)
class Classes:
    """ClassMix (arXiv:2007.07936): the pixels of half of the partner's labels, at their own place.

    Of multilabel data every bit field counts as a label of its own: pixels never lose one of their classes.
    """

    before: tuple[Transform, ...]
    ignore_index: int

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw) -> Pair:
        """Lay the chosen labels over the picture."""
        other, labels = draw.partner(self.before)
        counts = np.bincount(labels.numpy().ravel())  # labels are small numbers: ten times as fast as np.unique
        there = np.flatnonzero(counts)
        there = there[there != self.ignore_index]
        table = np.zeros(len(counts), np.bool_)
        table[draw.rng.permutation(there)[: (len(there) + 1) // 2]] = True
        taken = torch.from_numpy(table[labels.numpy()])
        return torch.where(taken, other, image), torch.where(taken, labels, mask)


@dataclass(frozen=True)
class Four:
    """Mosaic (arXiv:2004.10934): the picture and three partners meet at a point; each shows its own corner."""

    before: tuple[Transform, ...]

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw) -> Pair:
        """Fill three corners with partners."""
        image, mask = image.clone(), mask.clone()
        row, column = (int(side * draw.between(0.25, 0.75)) for side in mask.shape)
        corners = [(rows, columns) for rows in (slice(row), slice(row, None)) for columns in _sides(column)]
        kept = draw.whole(0, 3)
        for rows, columns in corners[:kept] + corners[kept + 1 :]:
            other, labels = draw.partner(self.before)
            image[:, rows, columns] = other[:, rows, columns]
            mask[rows, columns] = labels[rows, columns]
        return image, mask


def _sides(middle: int) -> tuple[slice, slice]:
    return slice(middle), slice(middle, None)
