from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segx_core import rle
from segx_core.errors import DataError


def naive_counts(mask: np.ndarray) -> str:
    """A transcription of pycocotools' rleEncode and rleToString, one pixel and one character at a time."""
    runs, current, length = [], 0, 0
    for x in range(mask.shape[1]):
        for y in range(mask.shape[0]):
            if int(mask[y, x]) != current:
                runs.append(length)
                current, length = 1 - current, 0
            length += 1
    runs.append(length)
    text = ""
    for i, run in enumerate(runs):
        rest = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            group = rest & 0x1F
            rest >>= 5
            more = rest != -1 if group & 0x10 else rest != 0
            text += chr((group | 0x20 if more else group) + 48)
    return text


def naive_decode(size: list[int], text: str) -> np.ndarray:
    runs: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            group = ord(text[place]) - 48
            value |= (group & 0x1F) << (5 * shift)
            more = bool(group & 0x20)
            place += 1
            shift += 1
            if not more and group & 0x10:
                value |= -1 << (5 * shift)
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    mask = np.zeros(size, bool)
    position = 0
    for i, run in enumerate(runs):
        for p in range(position, position + run):
            mask[p % size[0], p // size[0]] = i % 2 == 1
        position += run
    return mask


masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@settings(deadline=None, derandomize=True)
@given(masks)
def test_equals_the_naive_coder_both_ways(mask: np.ndarray) -> None:
    coded = rle.encode(mask)
    assert coded == {"size": list(mask.shape), "counts": naive_counts(mask)}
    assert np.array_equal(naive_decode(coded["size"], coded["counts"]), mask)
    assert np.array_equal(rle.decode(coded), mask)


@pytest.mark.parametrize("value", [False, True])
def test_masks_of_one_value(value: bool) -> None:
    mask = np.full((300, 500), value)
    coded = rle.encode(mask)
    assert coded["counts"] == naive_counts(mask)
    assert np.array_equal(rle.decode(coded), mask)


def test_known_strings_of_pycocotools() -> None:
    square = np.zeros((4, 4), bool)
    square[1:3, 1:3] = True
    assert rle.encode(square)["counts"] == naive_counts(square)
    assert rle.encode(np.zeros((2, 3), bool)) == {"size": [2, 3], "counts": "6"}
    assert rle.encode(np.ones((2, 3), bool)) == {"size": [2, 3], "counts": "06"}


def test_runs_that_shrink_and_grow_far() -> None:
    flat = np.repeat(np.arange(7) % 2 == 1, [70_000, 1, 3, 90_000, 2, 1, 40_001])
    mask = np.ascontiguousarray(flat.reshape(-1, 8).T)
    assert rle.encode(mask)["counts"] == naive_counts(mask)
    assert np.array_equal(rle.decode(rle.encode(mask)), mask)


def test_the_form_of_the_array_in_memory_does_not_matter() -> None:
    mask = np.random.default_rng(0).random((31, 17)) < 0.3
    assert rle.encode(np.asfortranarray(mask)) == rle.encode(mask) == rle.encode(np.repeat(mask, 2, 1)[:, ::2])


@pytest.mark.parametrize("counts", ["6P", "\n", "é", "7", "5", "PPPPPPPPP0"])
def test_damaged_strings_are_refused(counts: str) -> None:
    with pytest.raises(DataError):
        rle.decode({"size": [2, 3], "counts": counts})
