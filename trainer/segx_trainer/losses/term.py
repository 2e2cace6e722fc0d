"""What every loss is: the base class, its context, and the one place where ignored pixels are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from segx_trainer.losses.links import Link


@dataclass(frozen=True)
class Context:
    """What some terms need beside logits and target. A term names its needs in `Loss.needs`."""

    network: nn.Module | None = None
    teacher_logits: Tensor | None = None
    """(B, K, H, W) float."""
    average_logits: Tensor | None = None
    """(B, K, H, W) float, of the running average of the network's weights."""
    aux_logits: Tensor | None = None
    """(B, K, H, W) float, of the auxiliary head on the encoder."""
    velocity: Sequence[tuple[Tensor, Tensor]] | None = None
    """Every parameter with its total gradient at the last update."""
    step: int | None = None
    """Optimizer steps done so far."""
    progress: float | None = None
    """Share of the run that is done, in [0, 1]."""


class Loss(nn.Module):
    """A scalar criterion over pixels.

    Rules every subclass keeps: ignored pixels count for nothing in prediction and target alike; a batch in which
    nothing is valid gives 0 with zero gradient, never NaN; reductions run in float32 under autocast.
    """

    defaults: ClassVar[Mapping[str, float]] = {}
    """Grammar parameters and their default values; also keyword arguments of the constructor."""
    needs: frozenset[str] = frozenset()
    """Names of the Context fields this loss reads."""
    supervised: ClassVar[bool] = True
    """Whether it learns from labels or a teacher. Terms that do not, alone, are minimal where nothing is learned."""
    link: ClassVar[Link | None] = "softmax"
    """What makes probabilities of the logits it trains, None where it does not care; a sum has one link."""
    wants_prior: ClassVar[bool] = False
    """Whether the constructor takes `class_prior`, the (K,) share of the labelled pixels each class has in the data."""

    def __init__(self, num_classes: int, ignore_index: int, class_weights: Tensor | None) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """Compute the loss.

        Args:
            logits: (B, K, H, W) float.
            target: (B, H, W) int64 labels, or (B, K, H, W) float soft labels: rows sum to 1, and to 0 where ignored.
            context: what `needs` names.

        Returns:
            Scalar float32 tensor (float64 for float64 logits).
        """
        raise NotImplementedError

    def check(self, logits: Tensor, target: Tensor) -> None:
        """Refuse shapes that broadcasting would hide."""
        soft = target.is_floating_point()
        wanted = tuple(logits.shape) if soft else (logits.shape[0], *logits.shape[2:])
        if logits.ndim != 4 or logits.shape[1] != self.num_classes or tuple(target.shape) != wanted:
            raise ValueError(
                f"expected logits (B, {self.num_classes}, H, W) and a target (B, H, W) int64 or of the logits' shape, "
                f"got {tuple(logits.shape)} and {tuple(target.shape)} {target.dtype}"
            )


def full_precision(logits: Tensor) -> Tensor:
    """Half-precision logits as float32; float32 and float64 as they are."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def valid_pixels(target: Tensor, ignore_index: int) -> Tensor:
    """(B, H, W) bool: the pixels that count. Soft targets mark an ignored pixel by a row of zeros."""
    return target.sum(dim=1) > 0 if target.is_floating_point() else target != ignore_index


def distribution(target: Tensor, valid: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Target as (B, K, H, W) probabilities, zero where not valid."""
    if target.is_floating_point():
        return target.to(dtype) * valid.unsqueeze(1)
    hot = torch.zeros((target.shape[0], num_classes, *target.shape[1:]), dtype=dtype, device=target.device)
    hot.scatter_(1, target.masked_fill(~valid, 0).unsqueeze(1), 1.0)
    return hot * valid.unsqueeze(1)
