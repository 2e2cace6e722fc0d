"""Naive versions of the losses that are a mean over pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.trainer.oracles.plain import Array, log_softmax, pixels


def ce(logits: Array, target: Any, ignore: int, weights: Array, *, smoothing: float = 0.0) -> float:
    z, p = pixels(logits, target, ignore)
    classes = logits.shape[1]
    total = weight = 0.0
    for log_q, row in zip(log_softmax(z), p, strict=True):
        for k in range(classes):
            total -= ((1 - smoothing) * row[k] + smoothing / classes) * weights[k] * log_q[k]
            weight += row[k] * weights[k]
    return total / weight if weight else 0.0


ORACLES: dict[str, Callable[..., float]] = {"ce": ce}

VARIANTS = {"ce": ("ce[smoothing=0.2]",)}
"""More expressions to check, besides each name alone."""

EXCEPTIONS: dict[str, dict[str, str]] = {}
"""Which property of the contract does not hold for a name, and why."""
