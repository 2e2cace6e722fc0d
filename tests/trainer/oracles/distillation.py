"""Naive versions of the losses that learn from a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.trainer.oracles.plain import Array, log_softmax, softmax, truth


def kd(
    logits: Array, target: Any, ignore: int, weights: Array, *, teacher_logits: Array, temperature: float = 4.0
) -> float:
    _, valid = truth(target, ignore, logits.shape[1])
    each = []
    for b, r, c in zip(*np.nonzero(valid), strict=True):
        student, teacher = logits[b, :, r, c] / temperature, teacher_logits[b, :, r, c] / temperature
        each.append(_divergence(student, teacher))
    return temperature**2 * float(np.mean(each)) if each else 0.0


def cwd(
    logits: Array, target: Any, ignore: int, weights: Array, *, teacher_logits: Array, temperature: float = 4.0
) -> float:
    _, valid = truth(target, ignore, logits.shape[1])
    each = []
    for b in np.nonzero(valid.any((1, 2)))[0]:
        for k in range(logits.shape[1]):
            student, teacher = (z[b, k][valid[b]] / temperature for z in (logits, teacher_logits))
            each.append(_divergence(student, teacher))
    return temperature**2 * float(np.mean(each)) if each else 0.0


def _divergence(student: Array, teacher: Array) -> float:
    p = softmax(teacher, 0)
    return float((p * (log_softmax(teacher, 0) - log_softmax(student, 0))).sum())


ORACLES: dict[str, Callable[..., float]] = {"kd": kd, "cwd": cwd}

VARIANTS = {"kd": ("kd[temperature=1]",), "cwd": ("cwd[temperature=1]",)}

EXCEPTIONS = {"cwd": {"shift": "a class is compared over the pixels of a picture, each with a shift of its own"}}
