from __future__ import annotations

import threading

import pytest

from segx_evaluate.prefetch import prefetch


def test_keeps_the_order_and_the_bound() -> None:
    loaded: list[int] = []

    def load(item: int) -> int:
        loaded.append(item)
        return item * item

    for item, square in prefetch(range(20), load, ahead=3):
        assert square == item * item
        assert len(loaded) <= item + 3
    assert loaded == list(range(20))


def test_loads_ahead_in_another_thread() -> None:
    second = threading.Event()

    def load(item: int) -> str:
        if item == 1:
            second.set()
        return threading.current_thread().name

    results = prefetch([0, 1, 2], load)
    assert next(results)[1] != threading.current_thread().name
    assert second.wait(10)  # while the consumer still holds the first
    assert len(list(results)) == 2


def test_an_error_comes_at_its_place_and_nothing_is_left_running() -> None:
    def load(item: int) -> int:
        return 1 // (item - 2)

    results = prefetch(range(9), load)
    assert [next(results)[0], next(results)[0]] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_no_items() -> None:
    assert list(prefetch([], str)) == []
