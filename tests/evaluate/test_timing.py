from __future__ import annotations

import numpy as np
import pytest

from segx_evaluate.timing import measure, summarise, turns


def test_percentiles_are_numpys_in_milliseconds() -> None:
    latency = summarise([0.001 * k for k in range(1, 101)])
    assert (latency.p50, latency.p95, latency.p99) == pytest.approx((50.5, 95.05, 99.01))
    assert latency.pictures == 100


def test_models_take_turns() -> None:
    assert [turns(3, k) for k in range(4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_every_size_is_warmed_up_once_and_never_timed_cold() -> None:
    calls: list[tuple[str, int]] = []
    models = [lambda picture, name=name: calls.append((name, picture.shape[0])) for name in "ab"]
    seconds = measure(models, (np.zeros((size, 4, 3), np.uint8) for size in (5, 5, 7)))
    assert [len(times) for times in seconds] == [3, 3]
    assert all(value >= 0 for times in seconds for value in times)
    order = [("a", 5), ("a", 5), ("b", 5), ("b", 5), ("b", 5), ("a", 5), ("a", 7), ("a", 7), ("b", 7), ("b", 7)]
    assert calls == order
