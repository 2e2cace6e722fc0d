"""Lovasz-softmax: the Jaccard loss itself, made continuous exactly."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from segx_trainer.losses.shape import Planes, ShapeLoss, every


class Lovasz(ShapeLoss):
    """The Lovasz extension of each class's Jaccard loss, at the errors |p_c - q_c| of the batch's valid pixels.

    Berman et al. 2018, arXiv:1705.08790: exact by sorting, over the classes present in the whole batch.
    """

    soft: ClassVar[bool] = False

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def each(self, planes: Planes) -> tuple[Tensor, Tensor]:
        """See ShapeLoss.each."""
        values = []
        for place in range(len(planes.classes)):  # a class at a time: sorting all at once would hold all orders at once
            share, mine = planes.share[:, place][planes.valid], planes.truth[:, place][planes.valid] > 0
            error = torch.where(mine, 1 - share, share)  # (N,)
            order = error.detach().argsort(descending=True)
            values.append((error[order] * _steps(mine[order]).to(error.dtype)).sum())
        each = torch.stack(values) if values else planes.share.sum(dim=(0, 2, 3))
        return each, every(each)


def _steps(mine: Tensor) -> Tensor:
    """What the Jaccard loss grows by with each further pixel wrong, largest error first.

    Args:
        mine: (N,) bool: which pixels, in that order, are of the class.

    Returns:
        (N,) float64. Each step in closed form, because differences of the loss itself lose all digits among millions
        of pixels: with I of the class left and a union of U, a pixel of the class adds 1 / U, another I / (U (U + 1)).
    """
    hits, all_mine = mine.cumsum(0), mine.sum()
    misses = torch.arange(1, len(mine) + 1, device=mine.device) - hits
    left = (all_mine - hits + mine.long()).double()
    union = (all_mine + misses - (~mine).long()).double()
    return torch.where(mine, 1 / union, left / (union * (union + 1)))
