from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from segx_core.errors import DataError
from segx_trainer.ahead import Ahead


def _threads() -> int:
    return sum(thread.name == "segx-ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [1, 2, 50])
def test_items_come_in_order_and_the_thread_ends(depth: int) -> None:
    assert list(Ahead(lambda: iter(range(20)), depth)) == list(range(20))
    assert _threads() == 0


def test_no_more_is_made_ahead_than_asked_for() -> None:
    made: list[int] = []
    taken = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            if number == 3:  # two are ready, one was taken: this is the one being made
                taken.set()
            yield number

    items = Ahead(numbers, 2)
    first = iter(items)
    assert next(first) == 0
    assert taken.wait(10)
    assert made == [0, 1, 2, 3]
    items.close()
    assert _threads() == 0


def test_an_error_comes_where_it_belongs() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise DataError("a picture", "none")

    items = iter(Ahead(broken, 4))
    assert next(items) == 1
    with pytest.raises(DataError, match="a picture"):
        next(items)
    assert _threads() == 0


def test_leaving_early_leaves_no_thread() -> None:
    items = iter(Ahead(lambda: iter(range(10**9)), 2))
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert _threads() == 0
