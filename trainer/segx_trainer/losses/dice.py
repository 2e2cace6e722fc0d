"""Soft Dice of (B, K, H, W) planes that are there already, whatever made them; over classes that are present."""

from __future__ import annotations

from torch import Tensor

from segx_trainer.losses.sums import class_mean, quotient


def soft_dice(guess: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:
    """1 - Dice, averaged over the classes that are there.

    Args:
        guess: (B, K, H, W) probabilities, 0 where ignored.
        truth: the same of the target.
        class_weights: (K,) weights of that mean, or None for all ones.
    """
    area = truth.sum(dim=(0, 2, 3))  # (K,)
    overlap = (guess * truth).sum(dim=(0, 2, 3))
    return class_mean(1 - quotient(2 * overlap, guess.sum(dim=(0, 2, 3)) + area), area > 0, class_weights)
