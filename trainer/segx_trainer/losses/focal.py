"""Focal loss on softmax: cross-entropy that turns away from what is already right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.pixelwise import PixelLoss, at_target


class Focal(PixelLoss):
    """-(1 - q_y)^gamma log q_y with q = softmax(logits); of soft labels the mean over p.

    Lin et al. 2017, arXiv:1708.02002, taken over to one class a pixel: q_y is a probability of the softmax, so the same
    added to all logits changes nothing, which a sigmoid per class would not give. gamma = 0 is cross-entropy. There is
    no alpha: class weights do its work. It lowers the confidence too, so probabilities are less sharp than those of
    cross-entropy.
    """

    defaults: ClassVar[Mapping[str, float]] = {"gamma": 2.0}

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, gamma: float = 2.0
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if gamma < 0:
            raise ConfigError("gamma of 'focal' of at least 0", f"{gamma}")
        self.gamma = gamma

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See PixelLoss.per_pixel."""
        log_q = scores.log_softmax(1)
        if not target.is_floating_point():
            log_q = at_target(log_q, target, valid)
        # 1 - q without cancellation; the power through its logarithm, held above 0: a power of 0 has no finite gradient
        # where gamma is below 1.
        doubt = (-torch.expm1(log_q)).clamp(min=torch.finfo(scores.dtype).tiny)
        each = -log_q * torch.exp(self.gamma * doubt.log())
        return at_target(each, target, valid) if target.is_floating_point() else each
