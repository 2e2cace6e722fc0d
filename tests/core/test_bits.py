"""Bit fields against loops that look at one pixel and one class at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segx_core import bits, rle
from segx_core.confusion import iou, miou, tallies
from segx_core.errors import DataError
from segx_core.scores import dice, fwiou, mean_accuracy, pixel_accuracy

SHAPES = st.tuples(st.integers(1, 16), st.integers(1, 6), st.integers(1, 7))
PLANES = hnp.arrays(np.bool_, SHAPES)


@given(PLANES)
def test_packing_and_unpacking_are_each_others_way_back(planes: np.ndarray) -> None:
    fields = bits.pack(planes)
    assert fields.dtype == (np.uint8 if len(planes) <= 8 else np.uint16) == bits.map_type(len(planes))
    for row, column in np.ndindex(planes.shape[1:]):
        assert fields[row, column] == sum(1 << k for k in range(len(planes)) if planes[k, row, column])
    np.testing.assert_array_equal(bits.unpack(fields, len(planes)), planes)


@pytest.mark.parametrize("num_classes", [1, 3, 8, 16])
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_a_loop(num_classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    ignored = bits.ignored(num_classes)
    target = random.integers(0, 1 << num_classes, (9, 11)).astype(np.uint32)
    prediction = random.integers(0, 1 << num_classes, (9, 11)).astype(bits.map_type(num_classes))
    target[random.random(target.shape) < 0.2] = ignored
    expected = np.zeros((num_classes, 2, 2), np.int64)
    for true, found in zip(target.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if true != ignored:
            for k in range(num_classes):
                expected[k, true >> k & 1, found >> k & 1] += 1
    counts = bits.confusion(target, prediction, num_classes, ignored)
    np.testing.assert_array_equal(counts, expected)
    signed = bits.confusion(target.astype(np.int64), prediction.astype(np.int64), num_classes, ignored)
    np.testing.assert_array_equal(signed, expected)


def test_scores_of_counts_that_can_be_done_by_hand() -> None:
    #      class 0: 2 hits, 1 miss, 1 false, 6 right absences; class 1: nowhere; class 2: 1 false alone
    counts = np.array([[[6, 1], [1, 2]], [[10, 0], [0, 0]], [[9, 1], [0, 0]]])
    hits, there, found = tallies(counts)
    assert [one.tolist() for one in (hits, there, found)] == [[2, 0, 0], [3, 0, 0], [3, 0, 1]]
    np.testing.assert_allclose(iou(counts), [0.5, np.nan, 0])
    assert miou(counts) == 0.25
    np.testing.assert_allclose(dice(counts), [4 / 6, np.nan, 0])
    assert pixel_accuracy(counts) == (8 + 10 + 9) / 30
    assert mean_accuracy(counts) == pytest.approx(2 / 3)
    assert fwiou(counts) == 0.5
    assert math.isnan(miou(np.zeros((2, 2, 2), np.int64)))


def test_wrong_shapes_types_and_bits_are_refused() -> None:
    four = np.zeros((2, 2), np.uint8)
    with pytest.raises(DataError, match=r"\(2, 3\) for a target of \(2, 2\)"):
        bits.confusion(four, np.zeros((2, 3), np.uint8), 2, 4)
    with pytest.raises(DataError, match=r"integer bit fields as prediction.*float64"):
        bits.confusion(four, np.zeros((2, 2)), 2, 4)
    with pytest.raises(DataError, match=r"predicted values with the bits 0\.\.1 alone.*5 on 1 pixels"):
        bits.confusion(four, np.array([[0, 1], [5, 2]], np.uint8), 2, 4)
    with pytest.raises(DataError, match="target values"):
        bits.confusion(np.array([[8, 4], [0, 0]], np.uint8), four, 2, 4)


@given(PLANES)
def test_runs_are_those_of_each_mask_alone(planes: np.ndarray) -> None:
    found = bits.by_class(bits.pack(planes))
    assert list(found) == [k for k in range(len(planes)) if planes[k].any()]
    for k, runs in found.items():
        assert runs.rle() == rle.encode(planes[k])
        assert runs.area == planes[k].sum()


@given(PLANES)
def test_borders_count_each_class(planes: np.ndarray) -> None:
    expected = (planes[:, :, 1:] != planes[:, :, :-1]).sum() + (planes[:, 1:] != planes[:, :-1]).sum()
    assert bits.borders(bits.pack(planes)) == expected


def test_colours_are_means_and_none_is_black() -> None:
    table = bits.colors([(10, 0, 255), (20, 0, 0), (255, 255, 255)])
    assert table.shape == (8, 3)
    assert table[0].tolist() == [0, 0, 0]
    assert table[1].tolist() == [10, 0, 255]
    assert table[3].tolist() == [15, 0, 128]  # halves go up
    assert table[7].tolist() == [95, 85, 170]


@given(st.floats(1e-6, 1 - 1e-6), st.floats(-10, 10))
def test_a_cut_decides_as_the_probability_does(threshold: float, logit: float) -> None:
    probability = 1 / (1 + math.exp(-logit))
    if abs(probability - threshold) > 1e-9:
        assert (logit > bits.cut(threshold)) == (probability > threshold)
