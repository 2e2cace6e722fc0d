"""Losses by expression: `build("ce + 0.5*dice", num_classes=8)`.

A name maps to a term in one dict below; the grammar is in grammar.py, the weighted sum in combined.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from segx_core.errors import ConfigError, near
from segx_trainer.losses.combined import CombinedLoss
from segx_trainer.losses.cross_entropy import CrossEntropy
from segx_trainer.losses.dice import Dice
from segx_trainer.losses.distillation import ChannelDistillation, PixelDistillation
from segx_trainer.losses.grammar import Term, parse
from segx_trainer.losses.term import Context, Loss

__all__ = ["CombinedLoss", "Context", "Loss", "build", "names"]

TERMS: dict[str, type[Loss]] = {
    "ce": CrossEntropy,
    "dice": Dice,
    "kd": PixelDistillation,
    "cwd": ChannelDistillation,
}


def names() -> tuple[str, ...]:
    """Every loss name the grammar knows."""
    return tuple(TERMS)


def build(
    expression: str,
    num_classes: int,
    ignore_index: int = 255,
    class_weights: Sequence[float] | torch.Tensor | None = None,
) -> CombinedLoss:
    """Build the loss an expression names.

    Args:
        expression: a weighted sum such as "ce[smoothing=0.1] + 0.5*dice".
        num_classes: K, the channels of the logits.
        ignore_index: label of pixels that count for nothing.
        class_weights: (K,) positive factors, or None for all ones.

    Returns:
        A module: loss(logits (B, K, H, W), target (B, H, W) int64, context=None) -> scalar float32 tensor.

    Raises:
        ConfigError: the expression does not parse, or names an unknown loss or parameter.
    """
    weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
    if weights is not None and (weights.shape != (num_classes,) or not bool((weights > 0).all())):
        raise ConfigError(f"{num_classes} class weights above 0", f"{weights.tolist()}")
    terms = [(term, _construct(term, num_classes, ignore_index, weights)) for term in parse(expression)]
    return CombinedLoss([(term.name, term.weight, loss) for term, loss in terms])


def _construct(term: Term, num_classes: int, ignore_index: int, weights: torch.Tensor | None) -> Loss:
    if term.name not in TERMS:
        raise ConfigError("the name of a loss", f"'{term.name}'", near(term.name, TERMS))
    kind = TERMS[term.name]
    unknown = set(term.parameters) - set(kind.defaults)
    if unknown:
        name = min(unknown)
        cure = near(name, kind.defaults) if kind.defaults else f"'{term.name}' takes none."
        raise ConfigError(f"a parameter of '{term.name}'", f"'{name}'", cure)
    values: dict[str, Any] = {**kind.defaults, **term.parameters}
    return kind(num_classes=num_classes, ignore_index=ignore_index, class_weights=weights, **values)
