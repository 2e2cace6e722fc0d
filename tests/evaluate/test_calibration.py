from __future__ import annotations

import math

import numpy as np
import pytest

from segx_evaluate.calibration import Calibration


def naive(p: np.ndarray, y: np.ndarray, ignore: int, bins: int = 15) -> tuple[float, float]:
    boxes: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    squares = []
    for row in range(y.shape[0]):
        for column in range(y.shape[1]):
            if y[row, column] == ignore:
                continue
            q = p[:, row, column].astype(float)
            top = q.max()
            box = next(b for b in range(bins) if top * bins <= b + 1)
            boxes[box].append((top, int(q.argmax()) == y[row, column]))
            squares.append(sum((q[c] - (c == y[row, column])) ** 2 for c in range(len(q))))
    total = len(squares)
    ece = sum(abs(np.mean([t for t, _ in b]) - np.mean([h for _, h in b])) * len(b) / total for b in boxes if b)
    return float(ece), float(np.mean(squares))


def test_equals_the_naive_oracle_over_several_pictures() -> None:
    rng = np.random.default_rng(8)
    logits = rng.normal(0, 2, (4, 30, 20)).astype(np.float32)
    p = np.exp(logits) / np.exp(logits).sum(0)
    y = rng.integers(0, 4, (30, 20)).astype(np.uint8)
    y[rng.random(y.shape) < 0.2] = 255
    calibration = Calibration()
    calibration.add(p[:, :11], y[:11], 255)
    calibration.add(p[:, 11:], y[11:], 255)
    ece, brier = naive(p, y, 255)
    assert calibration.ece() == pytest.approx(ece, rel=1e-9)
    assert calibration.brier() == pytest.approx(brier, rel=1e-9)


def test_closed_forms() -> None:
    y = np.zeros((300, 300), np.uint8)
    sure = np.stack([np.ones(y.shape), np.zeros(y.shape)])
    right, wrong, even = Calibration(), Calibration(), Calibration()
    right.add(sure, y, 255)
    wrong.add(sure[::-1], y, 255)
    even.add(np.full((2, *y.shape), 0.5, np.float16), y, 255)
    assert (right.ece(), right.brier()) == (0, 0)
    assert (wrong.ece(), wrong.brier()) == (1, 2)
    assert (even.ece(), even.brier()) == (0.5, 0.5)


def test_nothing_counted_is_nan() -> None:
    calibration = Calibration()
    calibration.add(np.ones((1, 2, 2)), np.full((2, 2), 255, np.uint8), 255)
    assert math.isnan(calibration.ece())
    assert math.isnan(calibration.brier())
