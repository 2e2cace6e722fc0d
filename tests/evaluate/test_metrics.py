from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, jaccard_score

from segx_evaluate import metrics


@pytest.fixture(scope="module")
def labels() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 5, (40, 50)).astype(np.uint8)
    prediction = np.where(rng.random(target.shape) < 0.6, target, rng.integers(0, 5, target.shape)).astype(np.uint8)
    target[rng.random(target.shape) < 0.1] = 255
    return target, prediction


def test_scores_equal_scikit_learn(labels: tuple[np.ndarray, np.ndarray]) -> None:
    target, prediction = labels
    matrix = metrics.confusion(target, prediction, 5, 255)
    y, p = target[target != 255], prediction[target != 255]
    close = {"rel": 1e-12}
    assert metrics.miou(matrix) == pytest.approx(jaccard_score(y, p, average="macro"), **close)
    assert metrics.fwiou(matrix) == pytest.approx(jaccard_score(y, p, average="weighted"), **close)
    assert metrics.mean_dice(matrix) == pytest.approx(f1_score(y, p, average="macro"), **close)
    assert metrics.pixel_accuracy(matrix) == pytest.approx(accuracy_score(y, p), **close)
    assert metrics.kappa(matrix) == pytest.approx(cohen_kappa_score(y, p), **close)


def test_kappa_without_chance_or_pixels() -> None:
    assert math.isnan(metrics.kappa(np.zeros((3, 3), np.int64)))
    assert math.isnan(metrics.kappa(np.diag([5, 0, 0])))
    assert metrics.kappa(np.diag([5, 5])) == 1
