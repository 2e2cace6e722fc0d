"""Neighbour-aware calibration: cross-entropy whose logits are held near the labels around each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from segx_core.errors import ConfigError
from segx_trainer.losses.pixelwise import PixelLoss, at_target
from segx_trainer.losses.term import distribution


class NeighborCalibration(PixelLoss):
    """-log q_y + weight * mean_c |tau_c - z_c|, tau_c the share of class c among the valid pixels around this one.

    Murugesan et al. 2024, arXiv:2401.14487 (NACL): tau is counted in a square of `size` pixels a side, and the logits z
    themselves are held to it, so they stay small, probabilities stay honest, and most so at borders. (Margin-based
    label smoothing, arXiv:2111.15430, holds only the distances of logits above a margin and looks at no neighbours.)
    The mean over classes and the defaults are the authors' published settings. Pixels beyond the picture, and ignored
    ones, are no neighbours. As the logits have a target, the same added to all of them does change this loss.
    """

    defaults: ClassVar[Mapping[str, float]] = {"weight": 0.1, "size": 3.0}

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        class_weights: Tensor | None = None,
        weight: float = 0.1,
        size: float = 3.0,
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if weight < 0 or size < 1 or size % 2 != 1:
            raise ConfigError("of 'nacl' a weight of at least 0 and an odd size", f"{weight} and {size:g}")
        self.weight = weight
        self.size = int(size)

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See PixelLoss.per_pixel."""
        truth = distribution(target, valid, self.num_classes, scores.dtype)
        there = self._around(valid.unsqueeze(1).to(scores.dtype))
        tau = self._around(truth) / there.where(valid.unsqueeze(1), there.new_ones(()))
        apart = (tau - scores).abs().mean(1)
        return -at_target(scores.log_softmax(1), target, valid) + self.weight * apart

    def _around(self, maps: Tensor) -> Tensor:
        """Sums over the square around each pixel, of the maps' own size; zeros beyond the border."""
        return functional.avg_pool2d(maps, self.size, stride=1, padding=self.size // 2, divisor_override=1)
