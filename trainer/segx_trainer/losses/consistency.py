"""Agreement with the running average of the own weights (mean teacher).

Keeps no average: averaging.py does, and the loop brings its logits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.term import Context, Loss, full_precision, valid_pixels


class EmaConsistency(Loss):
    """r(s) * mean over valid pixels of sum_c (q_c - a_c)^2, q the network's softmax and a the averaged network's.

    Tarvainen and Valpola 2017, arXiv:1703.01780. No gradient reaches the average. The early average is no better than
    chance, so the term grows along their curve r(s) = exp(-5 (1 - s / rampup)^2) while the share s of the run that is
    done is below `rampup`, and is 1 from there on; `rampup=0` starts at 1.
    """

    defaults: ClassVar[Mapping[str, float]] = {"rampup": 0.3}
    needs = frozenset({"average_logits", "progress"})
    supervised: ClassVar[bool] = False

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, rampup: float = 0.3
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not 0.0 <= rampup <= 1.0:
            raise ConfigError("rampup of 'ema_consistency' in [0, 1]", f"{rampup}")
        self.rampup = rampup

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward; needs `context.average_logits` (B, K, H, W) and `context.progress`.

        Raises:
            ConfigError: one of them is missing.
            ValueError: shapes that do not fit.
        """
        self.check(logits, target)
        if context is None or context.average_logits is None or context.progress is None:
            raise ConfigError("the averaged network's logits and the progress in the context", "none", "Set ema.")
        average = context.average_logits
        if average.shape != logits.shape:
            raise ValueError(f"expected averaged logits {tuple(logits.shape)}, got {tuple(average.shape)}")
        scores = full_precision(logits)
        valid = valid_pixels(target, self.ignore_index)  # (B, H, W)
        gap = scores.softmax(dim=1) - average.detach().to(scores.dtype).softmax(dim=1)  # (B, K, H, W)
        per_pixel = gap.square().sum(dim=1).masked_fill(~valid, 0.0)
        return per_pixel.sum() / valid.sum().clamp(min=1) * self._ramp(context.progress)

    def _ramp(self, progress: float) -> float:
        return 1.0 if progress >= self.rampup else math.exp(-5.0 * (1.0 - progress / self.rampup) ** 2)
