"""Losses of multilabel data: every class is a yes or no of its own, through a sigmoid.

The target is a map of bit fields; it is taken apart into one plane a class here, just before it is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from segx_core.errors import ConfigError
from segx_trainer.losses.dice import soft_dice
from segx_trainer.losses.links import Link
from segx_trainer.losses.term import Context, Loss, full_precision, valid_pixels


class SigmoidLoss(Loss):
    """Base of these losses: takes targets apart."""

    link: ClassVar[Link | None] = None

    def planes(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is compared: logits in full precision, the truth, and where it counts.

        Args:
            logits: (B, K, H, W) float.
            target: (B, H, W) int64 bit fields, bit k for class k, or the ignore index.

        Returns:
            (B, K, H, W) float logits, (B, K, H, W) of 0 and 1, 0 where ignored, and (B, 1, H, W) of 0 and 1.
        """
        if target.is_floating_point():
            raise ValueError(f"expected bit fields as int64, got {target.dtype}")
        self.check(logits, target)
        scores = full_precision(logits)
        valid = valid_pixels(target, self.ignore_index).unsqueeze(1).to(scores.dtype)
        places = torch.arange(self.num_classes, device=target.device).view(1, -1, 1, 1)
        truth = ((target.unsqueeze(1) >> places) & 1).to(scores.dtype) * valid
        return scores, truth, valid

    def mean(self, values: Tensor, valid: Tensor) -> Tensor:
        """The mean of (B, K, H, W) values over valid pixels and, weighted by the class weights, over classes."""
        weights = values.new_ones(self.num_classes) if self.class_weights is None else self.class_weights.to(values)
        total = valid.sum() * weights.sum()
        # With nothing valid every summand is 0, so dividing by 1 gives 0 with zero gradient instead of 0/0.
        return (values * valid * weights.view(1, -1, 1, 1)).sum() / total.where(total > 0, total.new_ones(()))


class BinaryCrossEntropy(SigmoidLoss):
    """-y log p - (1 - y) log(1 - p) with p = sigmoid(logits), averaged over valid pixels and classes.

    `pos_weight` multiplies the part of pixels that have the class: above 1 it finds more of rare classes.
    """

    defaults: ClassVar[Mapping[str, float]] = {"pos_weight": 1.0}

    def __init__(
        self, num_classes: int, ignore_index: int, class_weights: Tensor | None = None, pos_weight: float = 1.0
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not pos_weight > 0:
            raise ConfigError("pos_weight of 'bce' above 0", f"{pos_weight}")
        self.pos_weight = pos_weight

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward; the target is int64 bit fields."""
        scores, truth, valid = self.planes(logits, target)
        rate = scores.new_full((), self.pos_weight)
        each = functional.binary_cross_entropy_with_logits(scores, truth, pos_weight=rate, reduction="none")
        return self.mean(each, valid)


class SigmoidFocal(SigmoidLoss):
    """Focal loss: binary cross-entropy times alpha_t (1 - p_t)^gamma, averaged over valid pixels and classes.

    p_t is the probability of the truth, alpha_t is `alpha` where the class is there and 1 - alpha where not (Lin et al.
    2017, arXiv:1708.02002, whose usual values are the defaults; they divide by the number of objects instead).
    """

    defaults: ClassVar[Mapping[str, float]] = {"gamma": 2.0, "alpha": 0.25}

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        class_weights: Tensor | None = None,
        gamma: float = 2.0,
        alpha: float = 0.25,
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if gamma < 0 or not 0 < alpha < 1:
            raise ConfigError("of 'focal' a gamma of at least 0 and an alpha between 0 and 1", f"{gamma} and {alpha}")
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward; the target is int64 bit fields."""
        scores, truth, valid = self.planes(logits, target)
        entropy = functional.binary_cross_entropy_with_logits(scores, truth, reduction="none")  # -log p_t
        # (1 - p_t)^gamma through its logarithm: a power of 0 has no finite gradient where gamma is below 1.
        doubt = torch.exp(self.gamma * functional.logsigmoid(scores * (1 - 2 * truth)))
        share = self.alpha * truth + (1 - self.alpha) * (1 - truth)
        return self.mean(share * doubt * entropy, valid)


class SigmoidDice(SigmoidLoss):
    """1 - mean_c 2 sum(y_c p_c) / (sum y_c + sum p_c) with p = sigmoid(logits), as `dice` over classes present."""

    def __init__(self, num_classes: int, ignore_index: int, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward; the target is int64 bit fields."""
        scores, truth, valid = self.planes(logits, target)
        return soft_dice(scores.sigmoid() * valid, truth, self.class_weights)
