"""What the naive versions of the losses share: softmax, and the pixels that count. NumPy in float64, no torch.

An oracle is `oracle(logits, target, ignore, weights, **rest)` -> float:
logits (B, K, H, W) float64; target (B, H, W) int64 or (B, K, H, W) float64 whose rows are 0 where ignored; ignore the
label that counts for nothing; weights (K,), ones where the loss has none; rest the grammar parameters and, by name,
what the loss needs of its context (arrays) or `class_prior`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def softmax(z: Array, axis: int = 1) -> Array:
    """Probabilities along an axis."""
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def log_softmax(z: Array, axis: int = 1) -> Array:
    """Their logarithms, finite for any logits."""
    shifted = z - z.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def truth(target: NDArray[np.generic], ignore: int, classes: int) -> tuple[Array, NDArray[np.bool_]]:
    """(B, K, H, W) distribution, zero where ignored, and (B, H, W) whether a pixel counts."""
    if target.ndim == 4:
        return target.astype(np.float64), target.sum(1) > 0
    valid = target != ignore
    planes = [(target == k) & valid for k in range(classes)]
    return np.stack(planes, 1).astype(np.float64), valid


def pixels(logits: Array, target: NDArray[np.generic], ignore: int) -> tuple[Array, Array]:
    """The pixels that count, one a row: (N, K) logits and (N, K) distribution."""
    p, valid = truth(target, ignore, logits.shape[1])
    return np.moveaxis(logits, 1, -1)[valid], np.moveaxis(p, 1, -1)[valid]


def weighted_mean(each: Array, p: Array, weights: Array) -> float:
    """sum(w_y l) / sum(w_y) of (N,) values, w_y the weight of a pixel's class; 0 of nothing."""
    factor = p @ weights
    return float((each * factor).sum() / factor.sum()) if len(each) else 0.0
