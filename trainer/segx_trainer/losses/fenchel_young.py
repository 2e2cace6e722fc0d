"""The losses that belong to sparse links: their gradient is link(z) - p, exactly 0 where the link is right for sure."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from segx_trainer.losses.links import Link, entmax15, sparsemax
from segx_trainer.losses.pixelwise import PixelLoss
from segx_trainer.losses.term import distribution


class Sparsemax(PixelLoss):
    """<q - p, z> + H(q) - H(p) with q = sparsemax(z) and H(q) = (1 - sum_c q_c^2) / 2.

    Martins and Astudillo 2016, arXiv:1602.02068. For hard labels it is 0, with zero gradient, as soon as z_y is larger
    than every other logit by 1. What is trained with it must be served with the same link.
    """

    link: ClassVar[Link | None] = "sparsemax"

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See PixelLoss.per_pixel."""
        truth = distribution(target, valid, self.num_classes, scores.dtype)
        likely = sparsemax(scores.detach())
        gained = (truth.square().sum(1) - likely.square().sum(1)) / 2
        return _fenchel_young(scores, truth, likely, gained)


class Entmax15(PixelLoss):
    """<q - p, z> + H(q) - H(p) with q = entmax15(z) and H(q) = 4/3 sum_c (q_c - q_c^1.5).

    Peters et al. 2019, arXiv:1905.05702: between cross-entropy and sparsemax. For hard labels it is 0, with zero
    gradient, as soon as z_y is larger than every other logit by 2. What is trained with it must be served with the same
    link.
    """

    link: ClassVar[Link | None] = "entmax15"

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See PixelLoss.per_pixel."""
        truth = distribution(target, valid, self.num_classes, scores.dtype)
        likely = entmax15(scores.detach())
        gained = 4 / 3 * (_tsallis(likely) - _tsallis(truth))
        return _fenchel_young(scores, truth, likely, gained)


def _tsallis(chances: Tensor) -> Tensor:
    return (chances - chances * chances.sqrt()).sum(1)


def _fenchel_young(scores: Tensor, truth: Tensor, likely: Tensor, gained: Tensor) -> Tensor:
    """(B, H, W) sum_c (q_c - p_c) z_c + gained, whose gradient in z is q - p."""
    return cast(Tensor, _FenchelYoung.apply(scores, likely - truth, gained))


class _FenchelYoung(torch.autograd.Function):
    """The gradient is known in closed form: nothing is differentiated through the sorting."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, apart: Tensor, gained: Tensor) -> Tensor:
        """Scores and apart = q - p (B, K, H, W), gained (B, H, W) -> (B, H, W)."""
        ctx.save_for_backward(apart)
        # q and p sum to the same, so that the largest may be taken off every score: smaller numbers, smaller errors.
        return (apart * (scores - scores.amax(1, keepdim=True))).sum(1) + gained

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """(B, H, W) -> (B, K, H, W); the link and the labels get none."""
        (apart,) = ctx.saved_tensors
        return gradients[0].unsqueeze(1) * apart, None, None
