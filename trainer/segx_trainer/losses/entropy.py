"""The entropy of the prediction, as a term beside a loss that learns from labels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from segx_trainer.losses.term import Context, Loss, full_precision, valid_pixels


class Entropy(Loss):
    """-sum_c q_c log q_c with q = softmax(logits), averaged over valid pixels: less of it is a surer network.

    Grandvalet and Bengio 2004. It looks at no label, except to leave ignored pixels out, so class weights change
    nothing. Alone it is smallest where every pixel is the same class, whichever: it needs a supervised term beside it.
    (The L1 norm of a softmax, which looks like a way to the same end, is always 1 and has no gradient at all.)
    """

    supervised: ClassVar[bool] = False

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward."""
        self.check(logits, target)
        valid = valid_pixels(target, self.ignore_index)
        log_q = full_precision(logits).log_softmax(1)
        each = -(log_q.exp() * log_q).sum(1).masked_fill(~valid, 0.0)
        return each.sum() / valid.sum().clamp(min=1)
