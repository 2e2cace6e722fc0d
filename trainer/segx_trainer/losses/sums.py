"""Losses that need no more of a batch than a few sums for each class: what those sums are, and the base of the losses.

One pass over the pixels serves every such loss of an expression, see combined.py. How the pass is done for hard
targets is the business of fused.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from segx_trainer.losses.fused import class_sums
from segx_trainer.losses.term import Context, Loss, distribution, full_precision, valid_pixels


@dataclass(frozen=True)
class PixelSums:
    """(K,) float64 sums over the valid pixels of a batch, with q = softmax(logits) and p the target.

    In float64 because differences of large sums follow; K numbers cost nothing.
    """

    area: Tensor
    """sum p_c."""
    nll: Tensor
    """sum -p_c log q_c."""
    overlap: Tensor
    """sum p_c q_c."""
    spread: Tensor | None
    """sum -log q_c, or None where nobody asked."""
    guess: Tensor | None
    """sum q_c, or None where nobody asked."""
    dtype: torch.dtype
    """Of the losses made of them: float32, or float64 for float64 logits."""


class SummedLoss(Loss):
    """A loss that is a function of `PixelSums`."""

    spread: bool = False
    """Whether it reads `PixelSums.spread`."""
    region: ClassVar[bool] = True
    """Whether it reads `PixelSums.guess`."""

    def reduce(self, sums: PixelSums) -> Tensor:
        """The loss, a float64 scalar."""
        raise NotImplementedError

    def of(self, sums: PixelSums) -> Tensor:
        """The loss as forward returns it."""
        return self.reduce(sums).to(sums.dtype)

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward."""
        self.check(logits, target)
        return self.of(sum_pixels(logits, target, self.ignore_index, [self]))

    def class_mean(self, values: Tensor, present: Tensor) -> Tensor:
        """See `class_mean`, with this loss's class weights."""
        return class_mean(values, present, self.class_weights)


def sum_pixels(logits: Tensor, target: Tensor, ignore_index: int, losses: Sequence[SummedLoss]) -> PixelSums:
    """One pass over the pixels.

    Args:
        logits: (B, K, H, W) float.
        target: (B, H, W) int64, or (B, K, H, W) float soft labels; see Loss.forward.
        ignore_index: label of pixels that count for nothing.
        losses: who will read the sums; what none of them reads is not summed.
    """
    spread, region = any(loss.spread for loss in losses), any(loss.region for loss in losses)
    classes = logits.shape[1]
    if not target.is_floating_point():
        valid = valid_pixels(target, ignore_index)
        # Ignored pixels are counted beyond the last class. Counts are whole numbers: exact however many there are.
        area = torch.bincount(target.masked_fill(~valid, classes).flatten(), minlength=classes + 1)[:classes].double()
        nll, spreads, overlap, guess = class_sums(logits, target, ignore_index, spread, region)
        return PixelSums(area, nll, overlap, spreads, guess, full_precision(logits[:0]).dtype)
    scores = full_precision(logits)
    valid = valid_pixels(target, ignore_index)
    truth, seen = distribution(target, valid, classes, scores.dtype), valid.unsqueeze(1)
    cost = -scores.log_softmax(dim=1)  # (B, K, H, W)
    share = cost.neg().exp()

    def total(planes: Tensor) -> Tensor:
        return planes.sum(dim=(0, 2, 3)).double()

    return PixelSums(
        total(truth),
        total(truth * cost),
        total(truth * share),
        total(cost * seen) if spread else None,
        total(share * seen) if region else None,
        scores.dtype,
    )


def class_mean(values: Tensor, present: Tensor, class_weights: Tensor | None) -> Tensor:
    """Mean of values (K,) over the classes present (K,) bool, weighted by class_weights (K,); 0 where none is."""
    factor = present.to(values.dtype)
    if class_weights is not None:
        factor = factor * class_weights.to(values)
    total = factor.sum()
    # With nothing present every summand is 0, so dividing by 1 gives 0 with zero gradient instead of 0/0.
    return (values * factor).sum() / total.where(total > 0, total.new_ones(()))


def quotient(above: Tensor, below: Tensor) -> Tensor:
    """Above / below, and 0 with no gradient where below is not above 0."""
    some = below > 0
    return (above / below.where(some, below.new_ones(()))) * some
