"""Decoding ahead: the next pictures are read in a thread while the present one is in the model.

Bounded, in order, and it ends with its consumer. Knows nothing of what is loaded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(items: Iterable[T], load: Callable[[T], R], *, ahead: int = 2) -> Iterator[tuple[T, R]]:
    """Yield (item, load(item)) in order, with at most `ahead` results waiting.

    An error of `load` is raised where its item would have come. Decoders and NumPy release the interpreter's lock, so
    one thread overlaps well; more would fight with the model's own threads.
    """
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            while True:
                while len(waiting) < ahead and (following := next(source, waiting)) is not waiting:
                    waiting.append((following, pool.submit(load, following)))  # type: ignore[arg-type]
                if not waiting:
                    return
                item, result = waiting.popleft()
                yield item, result.result()
        finally:
            for _, result in waiting:
                result.cancel()
