"""Cross-entropy of softmax(logits) against the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from segx_core.errors import ConfigError
from segx_trainer.losses.sums import PixelSums, SummedLoss, quotient
from segx_trainer.losses.term import Context, full_precision, valid_pixels


class CrossEntropy(SummedLoss):
    """H(p, q) = -sum_c p_c log q_c with p the target and q = softmax(logits), averaged over valid pixels.

    With class weights w the mean is sum(w_y * H) / sum(w_y), torch's convention; for soft labels w_y is sum_c p_c w_c.
    `smoothing` mixes the target with the uniform distribution (Szegedy et al. 2016, arXiv:1512.00567).
    """

    defaults: ClassVar[Mapping[str, float]] = {"smoothing": 0.0}
    region: ClassVar[bool] = False

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, smoothing: float = 0.0
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not 0.0 <= smoothing < 1.0:
            raise ConfigError("smoothing of 'ce' in [0, 1)", f"{smoothing}")
        self.smoothing = smoothing
        self.spread = smoothing > 0

    def reduce(self, sums: PixelSums) -> Tensor:
        """See SummedLoss.reduce."""
        weights = torch.ones_like(sums.area) if self.class_weights is None else self.class_weights.to(sums.area)
        total = (weights * sums.nll).sum()
        if self.smoothing:
            assert sums.spread is not None, "whoever sums must sum spread for a loss with `spread`"
            uniform = (weights * sums.spread).sum() / self.num_classes
            total = (1 - self.smoothing) * total + self.smoothing * uniform
        return quotient(total, (weights * sums.area).sum())

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward."""
        self.check(logits, target)
        if target.is_floating_point() or _channels_last(logits):
            return super().forward(logits, target, context)
        # Alone and on planes, torch's own kernel is faster than sums over pixels.
        weights = None if self.class_weights is None else self.class_weights.to(full_precision(logits[:0]))
        summed = functional.cross_entropy(
            full_precision(logits),
            target,
            weight=weights,
            ignore_index=self.ignore_index,
            reduction="sum",
            label_smoothing=self.smoothing,
        )
        valid = valid_pixels(target, self.ignore_index)
        total = valid.sum() if weights is None else (weights[target.masked_fill(~valid, 0)] * valid).sum()
        return quotient(summed, total)


def _channels_last(logits: Tensor) -> bool:
    """Whether the classes of a pixel lie together in the memory of a CPU, where torch's own kernel is the slower."""
    last = logits.is_contiguous(memory_format=torch.channels_last) and not logits.is_contiguous()
    return last and logits.device.type == "cpu"
