"""Naive versions of the losses that compare regions by sums over classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.trainer.oracles.plain import Array, pixels, softmax


def sums(logits: Array, target: Any, ignore: int) -> tuple[Array, Array, Array, list[int]]:
    """(K,) overlap, guess and area over the valid pixels, and the classes present."""
    z, p = pixels(logits, target, ignore)
    q = softmax(z) if len(z) else z
    area = p.sum(0)
    return (q * p).sum(0), q.sum(0), area, [k for k in range(logits.shape[1]) if area[k] > 0]


def mean(each: list[float], weights: Array, present: list[int]) -> float:
    """Weighted mean over the classes present."""
    return float(np.average(each, weights=weights[present])) if present else 0.0


def dice(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    overlap, guess, area, present = sums(logits, target, ignore)
    return mean([1 - 2 * overlap[k] / (guess[k] + area[k]) for k in present], weights, present)


def gdice(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    overlap, guess, area, present = sums(logits, target, ignore)
    above = sum(weights[k] / area[k] ** 2 * overlap[k] for k in present)
    below = sum(weights[k] / area[k] ** 2 * (guess[k] + area[k]) for k in present)
    return float(1 - 2 * above / below) if present else 0.0


def logcosh_dice(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    return float(np.log(np.cosh(dice(logits, target, ignore, weights))))


def jaccard(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    overlap, guess, area, present = sums(logits, target, ignore)
    return mean([1 - overlap[k] / (guess[k] + area[k] - overlap[k]) for k in present], weights, present)


def tversky(logits: Array, target: Any, ignore: int, weights: Array, *, alpha: float = 0.5, beta: float = 0.5) -> float:
    return focal_tversky(logits, target, ignore, weights, alpha=alpha, beta=beta, gamma=1.0)


def focal_tversky(
    logits: Array,
    target: Any,
    ignore: int,
    weights: Array,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
) -> float:
    overlap, guess, area, present = sums(logits, target, ignore)
    each = []
    for k in present:
        false_positive, false_negative = guess[k] - overlap[k], area[k] - overlap[k]
        index = overlap[k] / (overlap[k] + alpha * false_positive + beta * false_negative)
        each.append(max(1 - index, 0.0) ** (1 / gamma))
    return mean(each, weights, present)


ORACLES: dict[str, Callable[..., float]] = {
    "dice": dice,
    "gdice": gdice,
    "logcosh_dice": logcosh_dice,
    "jaccard": jaccard,
    "tversky": tversky,
    "focal_tversky": focal_tversky,
}

VARIANTS = {"tversky": ("tversky[alpha=0.2,beta=1.5]",), "focal_tversky": ("focal_tversky[alpha=0,gamma=0.5]",)}
