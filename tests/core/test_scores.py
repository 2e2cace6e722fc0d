from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score, f1_score, recall_score

from segx_core import scores
from segx_core.confusion import confusion, iou

MATRICES = hnp.arrays(np.int64, st.integers(1, 6).map(lambda k: (k, k)), elements=st.integers(0, 50))


def test_scikit_learn_agrees():
    rng = np.random.default_rng(3)
    target = rng.integers(0, 6, 5000)
    prediction = np.where(rng.random(5000) < 0.6, target, rng.integers(0, 6, 5000))
    matrix = confusion(target, prediction, 6, 255)
    assert scores.pixel_accuracy(matrix) == pytest.approx(accuracy_score(target, prediction), abs=1e-15)
    recalls = recall_score(target, prediction, average=None)
    np.testing.assert_allclose(scores.class_accuracy(matrix), recalls, atol=1e-15)
    assert scores.mean_accuracy(matrix) == pytest.approx(recalls.mean(), abs=1e-15)
    f1 = f1_score(target, prediction, average=None)
    np.testing.assert_allclose(scores.dice(matrix), f1, atol=1e-15)
    assert scores.mean_dice(matrix) == pytest.approx(f1.mean(), abs=1e-15)


def test_by_hand_with_an_absent_class():
    matrix = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]], dtype=np.int64)
    assert scores.pixel_accuracy(matrix) == 0.7
    np.testing.assert_array_equal(scores.class_accuracy(matrix), [3 / 4, 4 / 6, np.nan])
    np.testing.assert_array_equal(scores.dice(matrix), [6 / 9, 8 / 11, np.nan])
    assert scores.fwiou(matrix) == pytest.approx(0.4 * 3 / 6 + 0.6 * 4 / 7)


def test_nothing_counted_is_nan_everywhere():
    empty = np.zeros((2, 2), dtype=np.int64)
    for score in (scores.pixel_accuracy, scores.mean_accuracy, scores.mean_dice, scores.fwiou):
        assert np.isnan(score(empty))


@settings(deadline=None, derandomize=True)
@given(MATRICES)
def test_dice_follows_from_iou_and_all_lie_in_0_to_1(matrix):
    overlap = iou(matrix)
    np.testing.assert_allclose(scores.dice(matrix), 2 * overlap / (1 + overlap), atol=1e-12)
    for value in (scores.pixel_accuracy(matrix), scores.mean_accuracy(matrix), scores.fwiou(matrix)):
        assert np.isnan(value) or 0 <= value <= 1


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 6).flatmap(lambda k: hnp.arrays(np.int64, k, elements=st.integers(1, 9))))
def test_perfect_predictions_score_one(diagonal):
    matrix = np.diag(diagonal)
    assert scores.pixel_accuracy(matrix) == scores.mean_accuracy(matrix) == scores.mean_dice(matrix) == 1
    assert scores.fwiou(matrix) == 1
