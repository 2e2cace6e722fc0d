"""Online hard example mining: cross-entropy of the hardest pixels of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.pixelwise import at_target, pixel_weights, weighted_mean
from segx_trainer.losses.term import Context, Loss, full_precision, valid_pixels


class HardPixels(Loss):
    """Cross-entropy averaged over the share `keep` of the valid pixels whose cross-entropy is largest.

    The share is counted over the whole batch: round(keep * valid pixels), at least 1. Class weights weigh the mean, not
    the choice. Shrivastava et al. 2016, arXiv:1604.03540, and as bootstrapped cross-entropy Wu et al. 2016,
    arXiv:1605.06457. Wrong labels are the hardest pixels of all: not for data with many.
    """

    defaults: ClassVar[Mapping[str, float]] = {"keep": 0.25}

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, keep: float = 0.25
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not 0 < keep <= 1:
            raise ConfigError("keep of 'ohem' above 0 and at most 1", f"{keep}")
        self.keep = keep

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward."""
        self.check(logits, target)
        scores = full_precision(logits)
        valid = valid_pixels(target, self.ignore_index)
        each = -at_target(scores.log_softmax(1), target, valid)  # (B, H, W)
        # Sorted rather than cut at a quantile, so that the number is exact where pixels tie, and counted on the device,
        # so that the GPU is not waited for.
        order = each.detach().masked_fill(~valid, -1.0).flatten().argsort(descending=True, stable=True)
        count = (self.keep * valid.sum().double()).round().clamp(min=1)
        kept = torch.zeros_like(valid.flatten())
        kept[order] = torch.arange(len(order), device=order.device) < count
        chosen = valid & kept.view_as(valid)
        factor = pixel_weights(each, target, valid, self.class_weights) * chosen
        return weighted_mean(each.masked_fill(~chosen, 0.0), factor)
