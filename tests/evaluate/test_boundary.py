from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_evaluate.boundary import boundary_f1, edges, mean_boundary_f1, tolerance


def naive(target: np.ndarray, prediction: np.ndarray, classes: int, ignore: int, within: float) -> list[float]:
    """The rules of boundary.py, pixel by pixel and pair by pair."""
    height, width = target.shape
    ignored = [(y, x) for y in range(height) for x in range(width) if target[y, x] == ignore]

    def boundary(labels: np.ndarray, index: int) -> list[tuple[int, int]]:
        found = []
        for y in range(height):
            for x in range(width):
                if labels[y, x] != index or target[y, x] == ignore:
                    continue
                for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    inside = 0 <= v < height and 0 <= u < width
                    if inside and target[v, u] != ignore and labels[v, u] != index:
                        found.append((y, x))
                        break
        return found

    def near(point: tuple[int, int], others: list[tuple[int, int]]) -> bool:
        return any(math.hypot(point[0] - y, point[1] - x) <= within for y, x in others)

    def share(points: list[tuple[int, int]], others: list[tuple[int, int]]) -> float:
        right = sum(near(point, others) for point in points)
        wrong = sum(not near(point, others) and not near(point, ignored) for point in points)
        return right / (right + wrong) if right + wrong else math.nan

    scores = []
    for index in range(classes):
        true, found = boundary(target, index), boundary(prediction, index)
        precision, recall = share(found, true), share(true, found)
        if math.isnan(precision) and math.isnan(recall):
            scores.append(math.nan)
        elif math.isnan(precision) or math.isnan(recall) or precision + recall == 0:
            scores.append(0.0)
        else:
            scores.append(2 * precision * recall / (precision + recall))
    return scores


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(1, 16),
    width=st.integers(1, 16),
    block=st.integers(1, 5),
    ignored=st.sampled_from([0.0, 0.05, 0.4]),
    within=st.sampled_from([1.0, math.sqrt(2), 2.0, 3.3, 5.0]),
)
def test_equals_the_naive_oracle(seed: int, height: int, width: int, block: int, ignored: float, within: float) -> None:
    rng = np.random.default_rng(seed)

    def blocks() -> np.ndarray:
        small = rng.integers(0, 4, (-(-height // block), -(-width // block))).astype(np.uint8)
        return np.kron(small, np.ones((block, block), np.uint8))[:height, :width]

    target, prediction = blocks(), blocks()
    target[rng.random(target.shape) < ignored] = 255
    found = boundary_f1(target, prediction, 4, 255, pixels=within)
    np.testing.assert_allclose(found, naive(target, prediction, 4, 255, within), rtol=1e-12)


def halves(column: int, size: int = 40) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)
    labels[:, column:] = 1
    return labels


def test_tolerance_is_a_share_of_the_diagonal_and_at_least_one_pixel() -> None:
    assert tolerance(480, 640) == pytest.approx(6.0)
    assert tolerance(60, 80) == 1.0


def test_a_shift_within_the_tolerance_is_perfect_and_beyond_it_is_nothing() -> None:
    assert np.nanmin(boundary_f1(halves(20), halves(23), 2, 255, pixels=3)) == 1
    assert np.nanmax(boundary_f1(halves(20), halves(24), 2, 255, pixels=3)) == 0


def test_the_default_tolerance_follows_the_size() -> None:
    target, prediction = np.zeros((480, 640), np.uint8), np.zeros((480, 640), np.uint8)
    target[:, 300:], prediction[:, 306:] = 1, 1
    assert np.nanmin(boundary_f1(target, prediction, 2, 255)) == 1
    prediction[:, 306] = 0
    assert np.nanmax(boundary_f1(target, prediction, 2, 255)) == 0


def test_a_perfect_prediction_scores_one_however_much_is_ignored() -> None:
    rng = np.random.default_rng(5)
    truth = np.kron(rng.integers(0, 3, (6, 6)), np.ones((5, 5), int)).astype(np.uint8)
    for share in (0.1, 0.5):
        target = np.where(rng.random(truth.shape) < share, 255, truth).astype(np.uint8)
        scores = boundary_f1(target, truth, 3, 255)
        assert np.array_equal(scores[~np.isnan(scores)], np.ones((~np.isnan(scores)).sum()))


def test_the_edge_of_an_ignored_region_is_no_boundary() -> None:
    target = np.zeros((20, 20), np.uint8)
    target[5:10, 5:10] = 255
    assert not edges(target, target != 255).any()
    assert np.isnan(boundary_f1(target, np.zeros_like(target), 2, 255)).all()


def test_a_boundary_beside_a_strip_without_labels_is_left_out() -> None:
    target = halves(20)
    target[:, 18:22] = 255  # the true boundary lies somewhere in here
    assert np.isnan(boundary_f1(target, halves(17), 2, 255, pixels=2)).all()
    assert np.array_equal(boundary_f1(target, halves(10), 2, 255, pixels=2), [0, 0])


def test_a_missed_and_an_invented_class_score_zero_and_an_absent_one_nothing() -> None:
    flat = np.zeros((40, 40), np.uint8)
    np.testing.assert_array_equal(boundary_f1(halves(20), flat, 3, 255), [0, 0, np.nan])
    np.testing.assert_array_equal(boundary_f1(flat, halves(20), 3, 255), [0, 0, np.nan])
    assert np.isnan(boundary_f1(flat, flat, 3, 255)).all()


def test_mean_is_over_classes_then_pictures() -> None:
    scores = np.array([[1.0, np.nan, 0.0], [0.2, np.nan, np.nan], [np.nan] * 3])
    assert mean_boundary_f1(scores) == pytest.approx((0.5 + 0.2) / 2)
    assert math.isnan(mean_boundary_f1(np.full((2, 3), np.nan)))
    assert math.isnan(mean_boundary_f1(np.zeros((0, 3))))
