"""Soft clDice: whether the centre lines of thin things are found and connected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from segx_core.errors import ConfigError
from segx_trainer.losses.shape import Planes, ShapeLoss, every


class CenterlineDice(ShapeLoss):
    """1 - mean_c 2 a b / (a + b): a the part of the answer's skeleton in the target, b of the target's in the answer.

    Shit et al. 2020, arXiv:2003.07311, with skeletons by `iterations` rounds of min- and max-pooling, which must be
    more than half the width of what is to be thinned, and one pixel added above and below the line, as its authors do,
    so that an empty skeleton asks for nothing. Ignored pixels are to the pooling what lies beyond the picture's edge.
    """

    defaults: ClassVar[Mapping[str, float]] = {"iterations": 3.0}

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, iterations: float = 3.0
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not (iterations >= 1 and iterations == int(iterations)):
            raise ConfigError("a whole number of iterations of at least 1 for 'cldice'", f"{iterations}")
        self.iterations = int(iterations)

    def each(self, planes: Planes) -> tuple[Tensor, Tensor]:
        """See ShapeLoss.each."""
        ignored = ~planes.valid.unsqueeze(1)
        thin = soft_skeleton(planes.share, ignored, self.iterations)
        true_thin = soft_skeleton(planes.truth, ignored, self.iterations)
        precision, sensitivity = _part(thin, planes.truth), _part(true_thin, planes.share)
        values = 1 - 2 * precision * sensitivity / (precision + sensitivity)
        return values, every(values)


def soft_skeleton(planes: Tensor, ignored: Tensor, iterations: int) -> Tensor:
    """What an opening removes, gathered while the planes are eroded; (B, P, H, W) in [0, 1], 0 where ignored.

    Args:
        planes: (B, P, H, W) in [0, 1].
        ignored: (B, 1, H, W) bool.
        iterations: erosions.
    """
    skeleton = torch.zeros_like(planes)
    for _ in range(iterations + 1):
        eroded = _erode(planes, ignored)
        removed = functional.relu(planes - _dilate(eroded, ignored))
        skeleton = skeleton + (1 - skeleton) * removed
        planes = eroded
    return skeleton.masked_fill(ignored, 0.0)


def _part(skeleton: Tensor, region: Tensor) -> Tensor:
    """(P,) how much of each skeleton lies in the region."""
    return ((skeleton * region).sum(dim=(0, 2, 3)) + 1) / (skeleton.sum(dim=(0, 2, 3)) + 1)


def _erode(planes: Tensor, ignored: Tensor) -> Tensor:
    """Smallest of a pixel and its four neighbours."""
    if not planes.shape[1]:
        return planes
    lacking = -planes.masked_fill(ignored, 1.0)
    upright = functional.max_pool2d(lacking, (3, 1), stride=1, padding=(1, 0))
    level = functional.max_pool2d(lacking, (1, 3), stride=1, padding=(0, 1))
    return -torch.maximum(upright, level)


def _dilate(planes: Tensor, ignored: Tensor) -> Tensor:
    """Largest of a pixel and its eight neighbours."""
    if not planes.shape[1]:
        return planes
    return functional.max_pool2d(planes.masked_fill(ignored, 0.0), 3, stride=1, padding=1)
