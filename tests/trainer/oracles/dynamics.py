"""Naive versions of the losses that look at weights, at their average or at a second head."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.trainer.oracles.pixel import ce
from tests.trainer.oracles.plain import Array, pixels, softmax


def momentum(logits: Array, target: Any, ignore: int, weights: Array, *, velocity: Any, mu: float = 0.9) -> float:
    total = 0.0
    for parameter, past in velocity:
        for theta, v in zip(parameter.detach().flatten().tolist(), past.flatten().tolist(), strict=True):
            total += mu * theta * v
    return total


def ema_consistency(
    logits: Array,
    target: Any,
    ignore: int,
    weights: Array,
    *,
    average_logits: Array,
    progress: float,
    rampup: float = 0.3,
) -> float:
    q, _ = pixels(logits, target, ignore)
    a, _ = pixels(average_logits, target, ignore)
    each = [((softmax(one[None]) - softmax(other[None])) ** 2).sum() for one, other in zip(q, a, strict=True)]
    ramp = math.exp(-5 * (1 - progress / rampup) ** 2) if progress < rampup else 1.0
    return ramp * float(np.mean(each)) if each else 0.0


def l1_bn(logits: Array, target: Any, ignore: int, weights: Array, *, network: Any) -> float:
    scales = [values for name, values in network.named_parameters() if name.endswith("1.weight")]  # the BatchNorm
    return sum(abs(one) for values in scales for one in values.tolist())


def aux(logits: Array, target: Any, ignore: int, weights: Array, *, aux_logits: Array, smoothing: float = 0.0) -> float:
    return ce(aux_logits, target, ignore, weights, smoothing=smoothing)


ORACLES: dict[str, Callable[..., float]] = {
    "momentum": momentum,
    "ema_consistency": ema_consistency,
    "l1_bn": l1_bn,
    "aux": aux,
}

VARIANTS = {
    "momentum": ("momentum[mu=0.5]",),
    "ema_consistency": ("ema_consistency[rampup=0]", "ema_consistency[rampup=1]"),
    "aux": ("aux[smoothing=0.2]",),
}

_OF_WEIGHTS = {
    **dict.fromkeys(("gradient", "ignored", "one class", "extreme", "layout"), "the logits get no gradient from it"),
    "nothing": "it is a property of the weights, whatever the batch holds",
    "half": "it does not look at the logits",
}
_OF_ITS_HEAD = "its gradient reaches the second head alone; test_auxiliary.py holds that to the same"

EXCEPTIONS = {
    "momentum": _OF_WEIGHTS,
    "l1_bn": _OF_WEIGHTS,
    "aux": dict.fromkeys(("gradient", "ignored", "nothing", "one class", "half", "extreme", "layout"), _OF_ITS_HEAD),
}
