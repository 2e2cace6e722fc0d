"""Runs an iterator in a thread, a few items ahead of whoever takes them. Order and items stay what they were.

Loading releases the interpreter while it decodes and resizes, so it fits into what the network leaves of the other
cores. Knows nothing of pictures.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Failure:
    error: BaseException


@dataclass(frozen=True)
class _End:
    pass


class Ahead(Generic[T]):
    """Iterate over it once. `close`, which the end of the iteration and an error in it call too, ends the thread.

    Args:
        make: gives the iterator; called in the thread.
        depth: items that are ready at most, besides the one that is being made.
    """

    def __init__(self, make: Callable[[], Iterator[T]], depth: int) -> None:
        self._make = make
        self._ready: queue.Queue[T | _Failure | _End] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="segx-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        try:
            while True:
                item = self._ready.get()
                if isinstance(item, _End):
                    return
                if isinstance(item, _Failure):
                    raise item.error
                yield item
        finally:
            self.close()

    def close(self) -> None:
        """Wait for the item that is being made, and leave it."""
        self._closed.set()
        while self._thread.is_alive():
            try:  # the thread may wait for room
                self._ready.get_nowait()
            except queue.Empty:
                self._thread.join(0.01)

    def _fill(self) -> None:
        try:
            for item in self._make():
                self._ready.put(item)
                if self._closed.is_set():
                    return
            self._ready.put(_End())
        except BaseException as error:  # noqa: BLE001 - raised again where the items are taken
            self._ready.put(_Failure(error))
