"""Poly-1: cross-entropy with another weight on its first term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.pixelwise import PixelLoss, at_target


class Poly1(PixelLoss):
    """-log q_y + epsilon (1 - q_y) with q = softmax(logits); of soft labels the mean over p.

    Cross-entropy is sum_j (1 - q_y)^j / j, and this changes the factor of j = 1 from 1 to 1 + epsilon (Leng et al.
    2022, arXiv:2204.12511). The gradient in z_y is -(1 - q_y)(1 + epsilon q_y): above 0 it goes on pushing pixels that
    are nearly right, below 0 it lets them be. epsilon is at least -1, below which confidence is punished.
    """

    defaults: ClassVar[Mapping[str, float]] = {"epsilon": 1.0}

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, epsilon: float = 1.0
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if epsilon < -1:
            raise ConfigError("epsilon of 'poly1' of at least -1", f"{epsilon}")
        self.epsilon = epsilon

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See PixelLoss.per_pixel."""
        log_q = scores.log_softmax(1)
        if not target.is_floating_point():
            log_q = at_target(log_q, target, valid)
        each = -log_q - self.epsilon * torch.expm1(log_q)
        return at_target(each, target, valid) if target.is_floating_point() else each
