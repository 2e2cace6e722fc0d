"""Losses for data with wrong labels: generalised and symmetric cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.pixelwise import PixelLoss, at_target
from segx_trainer.losses.term import distribution


class GeneralizedCrossEntropy(PixelLoss):
    """(1 - r^q) / q with r the probability of the target's class; of soft labels the mean over p.

    Zhang and Sabuncu 2018, arXiv:1805.07836, whose 0.7 is the default. The gradient is r^q times that of cross-entropy:
    q near 0 is cross-entropy, q = 1 is half of `mae`, so hard pixels, many of them wrongly labelled, count less the
    larger q is.
    """

    defaults: ClassVar[Mapping[str, float]] = {"q": 0.7}

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, q: float = 0.7
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not 0 < q <= 1:
            raise ConfigError("q of 'gce' above 0 and at most 1", f"{q}")
        self.q = q

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See PixelLoss.per_pixel."""
        log_r = scores.log_softmax(1)
        if not target.is_floating_point():
            log_r = at_target(log_r, target, valid)
        each = -torch.expm1(self.q * log_r) / self.q
        return at_target(each, target, valid) if target.is_floating_point() else each


class SymmetricCrossEntropy(PixelLoss):
    """alpha H(p, q) + beta H(q, p): cross-entropy and, target and prediction changed over, its reverse.

    H(q, p) = -sum_c q_c log p_c with log 0 := A, so for hard labels it is -A (1 - q_y), a multiple of `mae`: it holds
    against wrong labels what cross-entropy would learn by heart. Wang et al. 2019, arXiv:1908.06112; the defaults are
    theirs for CIFAR-10. A is below 0; of soft labels no logarithm goes below it.
    """

    defaults: ClassVar[Mapping[str, float]] = {"alpha": 0.1, "beta": 1.0, "A": -6.0}

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        class_weights: Tensor | None = None,
        alpha: float = 0.1,
        beta: float = 1.0,
        A: float = -6.0,  # noqa: N803 - the paper's letter, and the grammar's
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if alpha < 0 or beta < 0 or not alpha + beta > 0 or not A < 0:
            raise ConfigError(
                "of 'sce' an alpha and a beta of at least 0, not both 0, and an A below 0", f"{alpha}, {beta} and {A}"
            )
        self.alpha = alpha
        self.beta = beta
        self.log_zero = A

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See PixelLoss.per_pixel."""
        log_q = scores.log_softmax(1)
        log_p = distribution(target, valid, self.num_classes, scores.dtype).log().clamp(min=self.log_zero)
        reverse = -(log_q.exp() * log_p).sum(1)
        return -self.alpha * at_target(log_q, target, valid) + self.beta * reverse
