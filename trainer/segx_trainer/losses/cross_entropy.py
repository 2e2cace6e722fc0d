"""Cross-entropy of softmax(logits) against the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from segx_core.errors import ConfigError
from segx_trainer.losses.term import Context, Loss, full_precision, valid_pixels


class CrossEntropy(Loss):
    """H(p, q) = -sum_c p_c log q_c with p the target and q = softmax(logits), averaged over valid pixels.

    With class weights w the mean is sum(w_y * H) / sum(w_y), torch's convention; for soft labels w_y is sum_c p_c w_c.
    `smoothing` mixes the target with the uniform distribution (Szegedy et al. 2016, arXiv:1512.00567).
    """

    defaults: ClassVar[Mapping[str, float]] = {"smoothing": 0.0}

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, smoothing: float = 0.0
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not 0.0 <= smoothing < 1.0:
            raise ConfigError("smoothing of 'ce' in [0, 1)", f"{smoothing}")
        self.smoothing = smoothing

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward."""
        self.check(logits, target)
        scores = full_precision(logits)
        valid = valid_pixels(target, self.ignore_index)
        weights = None if self.class_weights is None else self.class_weights.to(scores)
        if target.is_floating_point():
            labels = target.to(scores.dtype)
            per_pixel = functional.cross_entropy(
                scores, labels, weight=weights, reduction="none", label_smoothing=self.smoothing
            ).masked_fill(~valid, 0.0)
            factor = labels.sum(1) if weights is None else (labels * weights.view(1, -1, 1, 1)).sum(1)
        else:
            per_pixel = functional.cross_entropy(
                scores,
                target,
                weight=weights,
                ignore_index=self.ignore_index,
                reduction="none",
                label_smoothing=self.smoothing,
            )
            factor = valid.to(scores.dtype) if weights is None else weights[target.masked_fill(~valid, 0)] * valid
        # With nothing valid every summand is 0, so dividing by 1 gives 0 with zero gradient instead of 0/0.
        total = factor.sum()
        return per_pixel.sum() / total.where(total > 0, total.new_ones(()))
