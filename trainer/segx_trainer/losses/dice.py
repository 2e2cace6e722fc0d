"""Soft Dice loss over classes that are present."""

from __future__ import annotations

from torch import Tensor

from segx_trainer.losses.term import Context, Loss, distribution, full_precision, valid_pixels


class Dice(Loss):
    """1 - mean_c 2 sum(q_c p_c) / (sum q_c + sum p_c), sums over the valid pixels of the whole batch.

    The mean runs over the classes present in the valid target (Milletari et al. 2016, arXiv:1606.04797, made
    multi-class): a correct picture without some classes scores 0, and a missed rare class costs as much as a missed
    large one. Class weights weigh that mean.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward."""
        self.check(logits, target)
        scores = full_precision(logits)
        valid = valid_pixels(target, self.ignore_index)
        truth = distribution(target, valid, self.num_classes, scores.dtype)  # (B, K, H, W)
        guess = scores.softmax(dim=1) * valid.unsqueeze(1)  # (B, K, H, W)
        return soft_dice(guess, truth, self.class_weights)


def soft_dice(guess: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:
    """1 - Dice, averaged over the classes that are there.

    Args:
        guess: (B, K, H, W) probabilities, 0 where ignored.
        truth: the same of the target.
        class_weights: (K,) weights of that mean, or None for all ones.
    """
    area = truth.sum(dim=(0, 2, 3))  # (K,)
    overlap = (guess * truth).sum(dim=(0, 2, 3))
    size = guess.sum(dim=(0, 2, 3)) + area
    present = area > 0
    dice = 2 * overlap / size.where(present, size.new_ones(()))
    factor = present.to(guess.dtype)
    if class_weights is not None:
        factor = factor * class_weights.to(guess)
    total = factor.sum()
    return ((1 - dice) * factor).sum() / total.where(total > 0, total.new_ones(()))
