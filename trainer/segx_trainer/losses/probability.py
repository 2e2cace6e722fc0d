"""Distances between probabilities: mean absolute error and mean squared error of softmax(logits)."""

from __future__ import annotations

import torch
from torch import Tensor

from segx_trainer.losses.pixelwise import PixelLoss, at_target
from segx_trainer.losses.term import distribution


class MeanAbsoluteError(PixelLoss):
    """||p - q||_1 = sum_c |p_c - q_c| with q = softmax(logits): 2 (1 - q_y) for hard labels, between 0 and 2.

    It is summed over the classes, not averaged: a mean would make the loss weaker the more classes there are. Wrong
    labels harm it little (Ghosh et al. 2017, arXiv:1712.09482), and for the same reason it stalls on hard pixels: its
    gradient in z_y is -2 q_y (1 - q_y), which at q_y = 0.001 is 0.002 where cross-entropy's is 0.999. `gce` lies
    between the two.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See PixelLoss.per_pixel."""
        log_q = scores.log_softmax(1)
        if target.is_floating_point():
            return (target.to(scores.dtype) - log_q.exp()).abs().sum(1)
        return -2 * torch.expm1(at_target(log_q, target, valid))


class MeanSquaredError(PixelLoss):
    """sum_c (p_c - q_c)^2 with q = softmax(logits): the Brier score (Brier 1950), between 0 and 2.

    Summed over the classes, on probabilities and never on logits. It is a proper score, so probabilities are honest,
    and bounded, so single wrong labels count less than in cross-entropy; like `mae` it has almost no gradient where the
    network is surely wrong.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See PixelLoss.per_pixel."""
        truth = distribution(target, valid, self.num_classes, scores.dtype)
        return (scores.softmax(1) - truth).square().sum(1)
