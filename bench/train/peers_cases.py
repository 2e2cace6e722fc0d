"""The inputs on which losses and metrics of other projects go wrong, and the right value of each, in NumPy.

It knows neither peers nor segx, and needs nothing but NumPy: the peers' own environment imports it, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORED = 255
SURE = 20.0  # a logit that softmax turns into 1 - 2e-9, sigmoid into the same


@dataclass(frozen=True)
class Inputs:
    """One batch."""

    logits: NDArray[np.float32]
    """(B, K, H, W)."""
    target: NDArray[np.int64]
    """(B, H, W) class indices, `IGNORED` where nothing counts."""


def mostly_ignored() -> Inputs:
    """Random logits; seven of eight pixels are ignored."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 4, 16, 16)).astype(np.float32)
    target = generator.integers(0, 4, (2, 16, 16))
    target.reshape(-1)[np.arange(target.size) % 8 != 0] = IGNORED
    return Inputs(logits, target)


def all_ignored() -> Inputs:
    """Nothing counts."""
    return Inputs(mostly_ignored().logits, np.full((2, 16, 16), IGNORED))


def labelled() -> Inputs:
    """Random logits, all labelled."""
    found = mostly_ignored()
    return Inputs(found.logits, np.random.default_rng(1).integers(0, 4, found.target.shape))


def missed_class() -> Inputs:
    """Two classes; the one that holds 1 % of the pixels is not found, all else is right."""
    target = np.zeros((1, 10, 10), np.int64)
    target[0, 5, 5] = 1
    return Inputs(sure(np.zeros_like(target), 2), target)


def half_ignored() -> Inputs:
    """Every labelled pixel is right; the lower half is ignored."""
    truth = np.arange(256).reshape(1, 16, 16) % 4
    target = truth.copy()
    target[0, 8:] = IGNORED
    return Inputs(sure(truth, 4), target)


def few_classes() -> Inputs:
    """Every pixel is right; 4 of 19 classes occur."""
    target = np.arange(64 * 64).reshape(1, 64, 64) % 4
    return Inputs(sure(target, 19, 10.0), target)


def two_pictures() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Target and prediction (2, 100, 100) of two classes: the first is right; the second lacks its only pixel of 1."""
    target = np.zeros((2, 100, 100), np.int64)
    target[0, 50:] = 1
    target[1, 7, 7] = 1
    guess = target.copy()
    guess[1, 7, 7] = 0
    return target, guess


def false_alarms() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Target and prediction (1, 10, 10) of background and a class, found where it is and as often elsewhere."""
    target = np.zeros((1, 10, 10), np.int64)
    target[0, :2] = 1
    guess = np.zeros_like(target)
    guess[0, :4] = 1
    return target, guess


def sure(classes: NDArray[np.int64], count: int, logit: float = SURE) -> NDArray[np.float32]:
    """(B, K, H, W) logits: `logit` for the class of (B, H, W) `classes`, minus that for all others."""
    chosen = np.arange(count)[None, :, None, None] == classes[:, None]
    return np.where(chosen, logit, -logit).astype(np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Over axis 1, in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found


def cross_entropy(inputs: Inputs) -> float:
    """Mean of -log q_y over the labelled pixels, 0 where there are none."""
    return focal(inputs, gamma=0.0)


def focal(inputs: Inputs, gamma: float = 2.0) -> float:
    """Mean of -(1 - q_y)^gamma log q_y over the labelled pixels, q by softmax (arXiv:1708.02002)."""
    q = softmax(inputs.logits)
    terms = [
        -((1 - q[b, y, h, w]) ** gamma) * np.log(q[b, y, h, w])
        for (b, h, w), y in np.ndenumerate(inputs.target)
        if y != IGNORED
    ]
    return float(np.mean(terms)) if terms else 0.0


def dice(inputs: Inputs) -> float:
    """1 - Dice, of each class that the labelled pixels have, then the mean over those."""
    q, valid = softmax(inputs.logits), inputs.target != IGNORED
    found = []
    for k in range(q.shape[1]):
        truth, guess = inputs.target == k, q[:, k] * valid
        if truth.any():
            found.append(1 - 2 * guess[truth].sum() / (guess.sum() + truth.sum()))
    return float(np.mean(found))


def miou(target: NDArray[np.int64], guess: NDArray[np.int64]) -> float:
    """Mean IoU over the classes of the whole set."""
    return float(np.mean([iou(target, guess, k) for k in np.unique(target)]))


def iou(target: NDArray[np.int64], guess: NDArray[np.int64], k: int) -> float:
    """IoU of one class over the whole set."""
    return float(((target == k) & (guess == k)).sum() / ((target == k) | (guess == k)).sum())
