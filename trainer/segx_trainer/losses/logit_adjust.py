"""Logit-adjusted cross-entropy: the shares of the classes are put into the logits, for training only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.pixelwise import PixelLoss, at_target

_LEAST = 1e-12  # share of a class the data do not have: its logarithm is finite


class LogitAdjusted(PixelLoss):
    """Cross-entropy of logits + tau log(prior), the prior being the share of labelled pixels each class has.

    Menon et al. 2020, arXiv:2007.07314. The network learns what lies beyond the shares: with tau = 1 its own argmax
    aims at the mean of the classes' accuracies instead of pixel accuracy. Nothing is added when it is used, so its
    probabilities are those of data where all classes are as frequent, not of the data it saw.
    """

    defaults: ClassVar[Mapping[str, float]] = {"tau": 1.0}
    wants_prior: ClassVar[bool] = True
    shift: Tensor

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        class_weights: Tensor | None = None,
        tau: float = 1.0,
        class_prior: Tensor | None = None,
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if tau < 0:
            raise ConfigError("tau of 'logit_adjust' of at least 0", f"{tau}")
        if class_prior is None:
            raise ConfigError(
                "class_prior for 'logit_adjust', the share of the labelled pixels each class has",
                "none",
                "Count the classes of the training data and give their shares.",
            )
        shares = (class_prior.double() / class_prior.double().sum()).clamp(min=_LEAST)
        self.register_buffer("shift", tau * torch.log(shares), persistent=False)  # (K,) float64

    def per_pixel(self, scores: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See PixelLoss.per_pixel."""
        adjusted = scores + self.shift.to(scores).view(1, -1, 1, 1)
        return -at_target(adjusted.log_softmax(1), target, valid)
