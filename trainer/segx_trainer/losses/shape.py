"""The base of losses that look at where in the picture a class lies, and so cannot be had from sums over pixels.

It finds the classes present and the valid pixels; what is done with them is each loss's own.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.sums import class_mean
from segx_trainer.losses.term import Context, Loss, full_precision, valid_pixels


@dataclass(frozen=True)
class Planes:
    """A batch reduced to the P classes present in its valid target."""

    share: Tensor
    """(B, P, H, W) softmax, float32 or float64, 0 where not valid."""
    truth: Tensor
    """(B, P, H, W) target of the same type, 0 where not valid."""
    valid: Tensor
    """(B, H, W) bool."""
    classes: Tensor
    """(P,) int64: which classes they are."""
    winner: Tensor
    """(B, H, W) int64: the class with the largest logit, of all K."""


class ShapeLoss(Loss):
    """Mean over the classes present, weighted by the class weights, of what `each` says of a class."""

    soft: ClassVar[bool] = True
    """Whether soft labels have a meaning here."""

    @abstractmethod
    def each(self, planes: Planes) -> tuple[Tensor, Tensor]:
        """The loss of each class (P,), and whether it counts (P,) bool. With P = 0 both are empty."""

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward.

        Raises:
            ConfigError: soft labels for a loss that needs regions with an edge.
        """
        self.check(logits, target)
        if target.is_floating_point() and not self.soft:
            raise ConfigError(
                f"hard labels (B, H, W) int64 for {type(self).__name__}",
                "soft labels",
                "A region with an edge has no soft form: use dice or jaccard.",
            )
        with torch.autocast(logits.device.type, enabled=False):
            planes = self._planes(full_precision(logits), target)
            values, counted = self.each(planes)
            weights = None if self.class_weights is None else self.class_weights[planes.classes]
            return class_mean(values, counted, weights)

    def _planes(self, scores: Tensor, target: Tensor) -> Planes:
        valid = valid_pixels(target, self.ignore_index)
        seen = valid.unsqueeze(1)
        if target.is_floating_point():
            classes = ((target * seen).sum(dim=(0, 2, 3)) > 0).nonzero().squeeze(1)
            truth = target.to(scores.dtype).index_select(1, classes) * seen
        else:
            classes = torch.bincount(target[valid], minlength=self.num_classes).nonzero().squeeze(1)
            truth = ((target.unsqueeze(1) == classes.view(1, -1, 1, 1)) & seen).to(scores.dtype)
        share = scores.softmax(dim=1).index_select(1, classes) * seen
        return Planes(share, truth, valid, classes, scores.detach().argmax(dim=1))


def every(values: Tensor) -> Tensor:
    """All of the classes present count."""
    return torch.ones_like(values, dtype=torch.bool)
