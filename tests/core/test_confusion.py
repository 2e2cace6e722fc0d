from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix, jaccard_score

from segx_core import confusion as module
from segx_core.confusion import confusion, iou, miou
from segx_core.errors import DataError


def naive(target, prediction, num_classes, ignore_index):
    out = [[0] * num_classes for _ in range(num_classes)]
    for true, guess in zip(target.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if true != ignore_index:
            out[true][guess] += 1
    return np.array(out, dtype=np.int64)


def maps(num_classes, dtype=np.uint8, extra=()):
    values = st.sampled_from([*range(num_classes), *extra])
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=3, max_side=9), elements=values)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 7).flatmap(lambda k: st.tuples(st.just(k), maps(k, extra=(255,)))), st.integers(0, 2**32 - 1))
def test_equals_a_loop_over_pixels(case, seed):
    num_classes, target = case
    prediction = np.random.default_rng(seed).integers(0, num_classes, target.shape).astype(np.int64)
    got = confusion(target, prediction, num_classes, 255)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, naive(target, prediction, num_classes, 255))
    assert got.sum() == (target != 255).sum()


def test_equals_scikit_learn():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 12, (60, 80), dtype=np.uint8)
    prediction = rng.integers(0, 11, (60, 80), dtype=np.uint8)
    counted = target != 11
    matrix = confusion(target, prediction, 11, 11)
    expected = confusion_matrix(target[counted], prediction[counted], labels=range(11))
    np.testing.assert_array_equal(matrix, expected)
    jaccard = jaccard_score(target[counted], prediction[counted], labels=range(11), average=None)
    np.testing.assert_allclose(iou(matrix), jaccard, rtol=0, atol=1e-15)
    assert miou(matrix) == pytest.approx(jaccard.mean(), abs=1e-15)


def test_uint8_indices_do_not_wrap_around():
    target = np.full((3, 5), 200, dtype=np.uint8)
    prediction = np.full((3, 5), 199, dtype=np.uint8)
    matrix = confusion(target, prediction, 201, 255)
    assert matrix[200, 199] == 15
    assert matrix.sum() == 15


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_every_integer_type_counts_the_same(dtype):
    target = np.array([[0, 1, 2], [2, 1, 3]]).astype(dtype)
    prediction = np.array([[0, 1, 1], [2, 2, 0]], dtype=np.uint8)
    np.testing.assert_array_equal(confusion(target, prediction, 3, 3), [[1, 0, 0], [0, 1, 1], [0, 1, 1]])


def test_chunks_add_up(monkeypatch):
    rng = np.random.default_rng(1)
    target, prediction = rng.integers(0, 5, (2, 40, 50), dtype=np.uint8)
    whole = confusion(target, prediction, 5, 255)
    monkeypatch.setattr(module, "_CHUNK", 37)
    np.testing.assert_array_equal(confusion(target, prediction, 5, 255), whole)


def test_a_large_map_is_counted_exactly():
    target = np.zeros((4000, 5000), dtype=np.uint8)
    target[0] = 1
    matrix = confusion(target, target, 2, 255)
    np.testing.assert_array_equal(matrix, [[3999 * 5000, 0], [0, 5000]])


def test_ignored_pixels_and_what_is_predicted_there_do_not_count():
    target = np.array([[0, -1]], dtype=np.int64)
    prediction = np.array([[0, 99]], dtype=np.int64)
    np.testing.assert_array_equal(confusion(target, prediction, 2, -1), [[1, 0], [0, 0]])
    everything = np.full((4, 4), 255, dtype=np.uint8)
    assert confusion(everything, everything, 3, 255).sum() == 0


def test_an_ignore_index_may_be_one_of_the_classes():
    target = np.array([[0, 1, 1]], dtype=np.uint8)
    np.testing.assert_array_equal(confusion(target, target, 2, 0), [[0, 0], [0, 2]])


@pytest.mark.parametrize(
    ("target", "prediction", "said"),
    [
        ([[0, 3]], [[0, 0]], "3 on 1 pixels"),
        ([[0, -2]], [[0, 0]], "-2 on 1 pixels"),
        ([[0, 1]], [[3, 3]], "3 on 2 pixels"),
        ([[0, 1]], [[-1, 0]], "-1 on 1 pixels"),
    ],
)
def test_values_that_are_no_class_are_refused(target, prediction, said):
    with pytest.raises(DataError, match=said):
        confusion(np.array(target), np.array(prediction), 3, 255)


def test_other_misuse_is_refused():
    with pytest.raises(DataError, match="shape"):
        confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2, 255)
    with pytest.raises(DataError, match="float32"):
        confusion(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.uint8), 2, 255)
    with pytest.raises(DataError, match="num_classes=0"):
        confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), 0, 255)


def test_iou_by_hand():
    matrix = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]], dtype=np.int64)
    np.testing.assert_array_equal(iou(matrix), [3 / 6, 4 / 7, np.nan])
    assert miou(matrix) == (3 / 6 + 4 / 7) / 2
    assert np.isnan(miou(np.zeros((3, 3), dtype=np.int64)))


def test_a_class_that_is_only_predicted_counts_as_zero():
    matrix = np.array([[5, 1], [0, 0]], dtype=np.int64)
    np.testing.assert_array_equal(iou(matrix), [5 / 6, 0.0])
