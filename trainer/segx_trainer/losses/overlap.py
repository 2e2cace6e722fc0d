"""Losses of how far the predicted region of each class covers the true one: all are functions of three sums a class.

Of a class c: overlap sum q_c p_c, guess sum q_c, area sum p_c, over the valid pixels of the whole batch, with q the
softmax and p the target. The mean runs over the classes present in the valid target: a correct picture without some
classes scores 0, and a missed rare class costs as much as a missed large one. Class weights weigh that mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.sums import PixelSums, SummedLoss, quotient


class OverlapLoss(SummedLoss):
    """What they share: the three sums."""

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def reduce(self, sums: PixelSums) -> Tensor:
        """See SummedLoss.reduce."""
        assert sums.guess is not None, "whoever sums must sum guess for a loss with `region`"
        return self.measure(sums.overlap, sums.guess, sums.area)

    def measure(self, overlap: Tensor, guess: Tensor, area: Tensor) -> Tensor:
        """The loss of the three (K,) float64 sums."""
        raise NotImplementedError


class Dice(OverlapLoss):
    """1 - mean_c 2 overlap / (guess + area) (Milletari et al. 2016, arXiv:1606.04797, made multi-class)."""

    def measure(self, overlap: Tensor, guess: Tensor, area: Tensor) -> Tensor:
        """See OverlapLoss.measure."""
        return self.class_mean(1 - quotient(2 * overlap, guess + area), area > 0)


class LogCoshDice(Dice):
    """log cosh of the Dice loss (Jadon 2020, arXiv:2006.14822): its square halved near 0, where it flattens out."""

    def measure(self, overlap: Tensor, guess: Tensor, area: Tensor) -> Tensor:
        """See OverlapLoss.measure."""
        # log cosh x = log(1 + 2 sinh^2(x/2)), which loses no digits near 0.
        half = torch.sinh(super().measure(overlap, guess, area) / 2)
        return torch.log1p(2 * half.square())


class GeneralizedDice(OverlapLoss):
    """1 - 2 sum_c w_c overlap_c / sum_c w_c (guess_c + area_c), w_c = 1 / area_c^2 over the classes present.

    Sudre et al. 2017, arXiv:1707.03237. One quotient for all classes, so class weights multiply the w_c.
    """

    def measure(self, overlap: Tensor, guess: Tensor, area: Tensor) -> Tensor:
        """See OverlapLoss.measure."""
        present = area > 0
        # Only ratios of the weights matter: that of the smallest class is made 1, so none overflows.
        smallest = area.where(present, torch.inf).min()
        weights = (smallest / area.where(present, torch.inf)).square().nan_to_num(0.0)
        if self.class_weights is not None:
            weights = weights * self.class_weights.to(weights)
        size = guess + area
        return quotient((weights * (size - 2 * overlap)).sum(), (weights * size).sum())


class Jaccard(OverlapLoss):
    """1 - mean_c overlap / (guess + area - overlap): the IoU with probabilities in place of yes and no."""

    def measure(self, overlap: Tensor, guess: Tensor, area: Tensor) -> Tensor:
        """See OverlapLoss.measure."""
        return self.class_mean(1 - quotient(overlap, guess + area - overlap), area > 0)


class Tversky(OverlapLoss):
    """1 - mean_c overlap / (overlap + alpha (guess - overlap) + beta (area - overlap)).

    alpha weighs false positives, beta false negatives; at 0.5 and 0.5 it is Dice. Salehi et al. 2017, arXiv:1706.05721.
    """

    defaults: ClassVar[Mapping[str, float]] = {"alpha": 0.5, "beta": 0.5}

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        class_weights: Tensor | None = None,
        alpha: float = 0.5,
        beta: float = 0.5,
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not (alpha >= 0 and beta > 0):
            cure = "Without a price for what is missed, one pixel found would be a full answer."
            raise ConfigError("alpha of at least 0 and beta above 0", f"alpha={alpha}, beta={beta}", cure)
        self.alpha, self.beta = alpha, beta

    def measure(self, overlap: Tensor, guess: Tensor, area: Tensor) -> Tensor:
        """See OverlapLoss.measure."""
        return self.class_mean(self.missed(overlap, guess, area), area > 0)

    def missed(self, overlap: Tensor, guess: Tensor, area: Tensor) -> Tensor:
        """(K,) 1 - Tversky index of each class; not from 1, which would lose the digits of a good answer."""
        wrong = self.alpha * (guess - overlap) + self.beta * (area - overlap)
        return quotient(wrong, overlap + wrong)


class FocalTversky(Tversky):
    """mean_c (1 - Tversky index_c)^(1 / gamma): gamma above 1 pulls at classes that are nearly right.

    Abraham and Khan 2018, arXiv:1810.07842, whose figures of the better recall are the defaults; there alpha is the
    weight of false negatives, here as in `tversky` that of false positives.
    """

    defaults: ClassVar[Mapping[str, float]] = {"alpha": 0.3, "beta": 0.7, "gamma": 4 / 3}

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        class_weights: Tensor | None = None,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 4 / 3,
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights, alpha, beta)
        if not gamma > 0:
            raise ConfigError("gamma of 'focal_tversky' above 0", f"{gamma}")
        self.gamma = gamma

    def measure(self, overlap: Tensor, guess: Tensor, area: Tensor) -> Tensor:
        """See OverlapLoss.measure."""
        missed = self.missed(overlap, guess, area)
        # The root has no finite slope at 0, where the answer is right and wants none.
        some = missed > 0
        powers = missed.where(some, missed.new_ones(())) ** (1 / self.gamma) * some
        return self.class_mean(powers, area > 0)
