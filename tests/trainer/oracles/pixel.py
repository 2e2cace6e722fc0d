"""Naive versions of the losses that are a mean over pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.trainer.oracles.plain import Array, log_softmax, pixels, softmax, truth, weighted_mean


def ce(logits: Array, target: Any, ignore: int, weights: Array, *, smoothing: float = 0.0) -> float:
    z, p = pixels(logits, target, ignore)
    classes = logits.shape[1]
    total = weight = 0.0
    for log_q, row in zip(log_softmax(z), p, strict=True):
        for k in range(classes):
            total -= ((1 - smoothing) * row[k] + smoothing / classes) * weights[k] * log_q[k]
            weight += row[k] * weights[k]
    return total / weight if weight else 0.0


def mae(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    z, p = pixels(logits, target, ignore)
    return weighted_mean(np.abs(p - softmax(z)).sum(1), p, weights)


def mse(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    z, p = pixels(logits, target, ignore)
    return weighted_mean(((p - softmax(z)) ** 2).sum(1), p, weights)


def focal(logits: Array, target: Any, ignore: int, weights: Array, *, gamma: float = 2.0) -> float:
    z, p = pixels(logits, target, ignore)
    q = softmax(z)
    return weighted_mean((p * (1 - q) ** gamma * -np.log(q)).sum(1), p, weights)


def poly1(logits: Array, target: Any, ignore: int, weights: Array, *, epsilon: float = 1.0) -> float:
    z, p = pixels(logits, target, ignore)
    q = softmax(z)
    return weighted_mean((p * (epsilon * (1 - q) - np.log(q))).sum(1), p, weights)


def ohem(logits: Array, target: Any, ignore: int, weights: Array, *, keep: float = 0.25) -> float:
    z, p = pixels(logits, target, ignore)
    each = -(p * np.log(softmax(z))).sum(1)
    hardest = np.argsort(-each)[: max(1, round(keep * len(each)))]
    return weighted_mean(each[hardest], p[hardest], weights)


def logit_adjust(
    logits: Array, target: Any, ignore: int, weights: Array, *, class_prior: Array, tau: float = 1.0
) -> float:
    z, p = pixels(logits, target, ignore)
    total = weight = 0.0
    for row, share in zip(z, p, strict=True):
        tilted = class_prior**tau * np.exp(row - row.max())
        for k in range(len(weights)):
            total -= share[k] * weights @ share * np.log(tilted[k] / tilted.sum())
        weight += weights @ share
    return float(total / weight) if weight else 0.0


def gce(logits: Array, target: Any, ignore: int, weights: Array, *, q: float = 0.7) -> float:
    z, p = pixels(logits, target, ignore)
    return weighted_mean((p * (1 - softmax(z) ** q) / q).sum(1), p, weights)


def sce(logits: Array, target: Any, ignore: int, weights: Array, **given: float) -> float:
    alpha, beta, least = given.get("alpha", 0.1), given.get("beta", 1.0), given.get("A", -6.0)
    z, p = pixels(logits, target, ignore)
    total = weight = 0.0
    for q, row in zip(softmax(z), p, strict=True):
        forward = -sum(row[k] * np.log(q[k]) for k in range(len(q)))
        reverse = -sum(q[k] * (max(np.log(row[k]), least) if row[k] > 0 else least) for k in range(len(q)))
        total += weights @ row * (alpha * forward + beta * reverse)
        weight += weights @ row
    return float(total / weight) if weight else 0.0


def nacl(logits: Array, target: Any, ignore: int, weights: Array, *, weight: float = 0.1, size: int = 3) -> float:
    p, valid = truth(target, ignore, logits.shape[1])
    reach = int(size) // 2
    total = counted = 0.0
    for b, r, c in zip(*np.nonzero(valid), strict=True):
        rows, columns = slice(max(0, r - reach), r + reach + 1), slice(max(0, c - reach), c + reach + 1)
        tau = p[b, :, rows, columns].sum((1, 2)) / valid[b, rows, columns].sum()
        z, here = logits[b, :, r, c], p[b, :, r, c]
        cost = -(here * log_softmax(z, 0)).sum() + weight * np.abs(tau - z).mean()
        total += weights @ here * cost
        counted += weights @ here
    return float(total / counted) if counted else 0.0


def entropy(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    z, _ = pixels(logits, target, ignore)
    return float(np.mean([-(q * np.log(q)).sum() for q in softmax(z)])) if len(z) else 0.0


def sparsemax(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    return _regularized(logits, target, ignore, weights, 2.0)


def entmax15(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    return _regularized(logits, target, ignore, weights, 1.5)


def _regularized(logits: Array, target: Any, ignore: int, weights: Array, alpha: float) -> float:
    """max_q <q, z> + H(q) - (<p, z> + H(p)) with Tsallis' H."""
    z, p = pixels(logits, target, ignore)
    best = [entmax(row, alpha) for row in z]
    each = [
        row @ (q - here) + tsallis(q, alpha) - tsallis(here, alpha) for row, q, here in zip(z, best, p, strict=True)
    ]
    return weighted_mean(np.array(each), p, weights)


def entmax(z: Array, alpha: float) -> Array:
    """The maximum of <q, z> + H(q) over the simplex, by halving the interval of its threshold."""
    scaled = (alpha - 1) * z

    def at(tau: float) -> Array:
        return np.asarray(np.maximum(scaled - tau, 0) ** (1 / (alpha - 1)))

    low, high = scaled.max() - 1, scaled.max()
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).sum() > 1 else (low, middle)
    return at(low)


def tsallis(q: Array, alpha: float) -> float:
    return float((q - q**alpha).sum() / (alpha * (alpha - 1)))


ORACLES: dict[str, Callable[..., float]] = {
    "ce": ce,
    "mae": mae,
    "mse": mse,
    "focal": focal,
    "poly1": poly1,
    "ohem": ohem,
    "logit_adjust": logit_adjust,
    "gce": gce,
    "sce": sce,
    "nacl": nacl,
    "entropy": entropy,
    "sparsemax": sparsemax,
    "entmax15": entmax15,
}

VARIANTS = {
    "ce": ("ce[smoothing=0.2]",),
    "focal": ("focal[gamma=0.5]", "focal[gamma=0]"),
    "poly1": ("poly1[epsilon=-1]",),
    "ohem": ("ohem[keep=1]", "ohem[keep=0.001]"),
    "logit_adjust": ("logit_adjust[tau=0.5]",),
    "gce": ("gce[q=1]", "gce[q=0.01]"),
    "sce": ("sce[alpha=1,beta=0.5,A=-2]",),
    "nacl": ("nacl[weight=1,size=5]",),
}
"""More expressions to check, besides each name alone."""

EXCEPTIONS: dict[str, dict[str, str]] = {
    "nacl": {
        "pixels": "it looks at the labels around a pixel",
        "shift": "the logits themselves have a target",
    }
}
"""Which property of the contract does not hold for a name, and why."""
