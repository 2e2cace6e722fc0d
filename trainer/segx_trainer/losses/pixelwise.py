"""The base of losses that are a mean over pixels, and that mean. Knows no particular loss."""

from __future__ import annotations

from torch import Tensor

from segx_trainer.losses.term import Context, Loss, full_precision, valid_pixels


class PixelLoss(Loss):
    """sum(w_y l) / sum(w_y) over the valid pixels, l from `per_pixel`, w_y the weight of a pixel's class.

    Of soft labels w_y is sum_c p_c w_c; without class weights it is the plain mean.
    """

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward."""
        self.check(logits, target)
        scores = full_precision(logits)
        valid = valid_pixels(target, self.ignore_index)
        each = self.per_pixel(scores, target, valid).masked_fill(~valid, 0.0)
        return weighted_mean(each, pixel_weights(each, target, valid, self.class_weights))

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """The loss of each pixel, before any weight.

        Args:
            scores: (B, K, H, W) logits, float32 or float64.
            target: (B, H, W) int64 or (B, K, H, W) soft.
            valid: (B, H, W) bool.

        Returns:
            (B, H, W) of the scores' type; anything finite where not valid.
        """
        raise NotImplementedError


def pixel_weights(like: Tensor, target: Tensor, valid: Tensor, class_weights: Tensor | None) -> Tensor:
    """(B, H, W) what each pixel counts, 0 where not valid, of the type of `like`."""
    weights = None if class_weights is None else class_weights.to(like)
    if target.is_floating_point():
        labels = target.to(like.dtype)
        return labels.sum(1) if weights is None else (labels * weights.view(1, -1, 1, 1)).sum(1)
    counted = valid.to(like.dtype)
    return counted if weights is None else weights[target.masked_fill(~valid, 0)] * counted


def weighted_mean(each: Tensor, factor: Tensor) -> Tensor:
    """sum(factor * each) / sum(factor), both (B, H, W)."""
    # With nothing valid every summand is 0, so dividing by 1 gives 0 with zero gradient instead of 0/0.
    total = factor.sum()
    return (each * factor).sum() / total.where(total > 0, total.new_ones(()))


def at_target(values: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """(B, H, W) values of the target's class; of soft targets the mean sum_c p_c values_c.

    Args:
        values: (B, K, H, W).
        target: (B, H, W) int64 or (B, K, H, W) soft.
        valid: (B, H, W) bool; elsewhere the result means nothing.
    """
    if target.is_floating_point():
        return (values * target.to(values.dtype)).sum(1)
    return values.gather(1, target.masked_fill(~valid, 0).unsqueeze(1)).squeeze(1)
