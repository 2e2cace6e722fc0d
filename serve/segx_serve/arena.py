"""One block of memory from which decoded pictures get their places, so that no picture costs the system a new page.

Always the lowest place that fits: under steady load the same few pages are used again and again (and stay in the
cache), and pictures that arrive one after the other lie one after the other, so that a batch of them is a view.
The block can be shared with another process by its file descriptor.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from segx_serve.job import Work

# What stays resident once nothing is held any more; the rest goes back to the system. Bytes.
_KEEP = 32 * 2**20


class Arena:
    """`size` bytes of address space; pages become real when they are first written to. Safe from any thread.

    Args:
        size: bytes; places are never given beyond it.
        shared: back it with a file descriptor (`fd`) that another process can map.
    """

    def __init__(self, size: int, *, shared: bool = False) -> None:
        self.size = size
        self.fd = anonymous_file(size) if shared else -1
        self._map = mmap.mmap(self.fd, size) if shared else _private(size)
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._map, dtype=np.uint8)
        self._lock = threading.Lock()
        self._starts = [0]  # of the free stretches, ascending
        self._ends = [size]
        self._top = 0  # one past the highest byte given away since the last trim

    def take(self, size: int) -> int | None:
        """Reserve `size` bytes: their offset, or None where no stretch is long enough."""
        with self._lock:
            starts, ends = self._starts, self._ends
            for index, start in enumerate(starts):
                if ends[index] - start >= size:
                    break
            else:
                return None
            if ends[index] - start == size:
                del starts[index], ends[index]
            else:
                starts[index] = start + size
            self._top = max(self._top, start + size)
            return start

    def give(self, start: int, size: int) -> None:
        """Give back what `take` gave."""
        with self._lock:
            starts, ends = self._starts, self._ends
            index = bisect_left(starts, start)
            end = start + size
            if index < len(starts) and starts[index] == end:
                end = ends[index]
                del starts[index], ends[index]
            if index and ends[index - 1] == start:
                ends[index - 1] = end
            else:
                starts.insert(index, start)
                ends.insert(index, end)
            if self._top > _KEEP and starts == [0] and ends == [self.size]:
                self._trim()

    def array(self, start: int, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
        """The bytes from `start` on as an array of this shape; a view, valid until the place is given back."""
        kind = np.dtype(dtype)
        size = kind.itemsize
        for side in shape:
            size *= side
        return self._bytes[start : start + size].view(kind).reshape(shape)

    def together(self, works: Sequence[Work]) -> NDArray[np.uint8] | None:
        """(N, H, W, 3) view over the pictures of one batch that lie one after the other; None where they do not."""
        return adjacent(self._bytes, works)

    def close(self) -> None:
        """Give up the file descriptor; the memory itself lives as long as somebody looks at it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _trim(self) -> None:
        start = -(-_KEEP // mmap.PAGESIZE) * mmap.PAGESIZE
        advice = "MADV_REMOVE" if self.fd >= 0 else "MADV_DONTNEED"
        if hasattr(mmap, advice):
            self._map.madvise(getattr(mmap, advice), start, self._top - start)
        self._top = 0


def attach(fd: int, size: int) -> NDArray[np.uint8]:
    """The bytes of another process's arena, (size,) uint8; closes `fd`.

    Raises:
        ValueError: the file behind `fd` is shorter than `size`.
    """
    try:
        return np.frombuffer(mmap.mmap(fd, size), dtype=np.uint8)
    finally:
        os.close(fd)


def adjacent(memory: NDArray[np.uint8], works: Sequence[Work]) -> NDArray[np.uint8] | None:
    """(N, H, W, 3) view over pictures of one shape that lie one after the other in `memory`, (size,) uint8.

    None where they do not.
    """
    picture = works[0].picture
    assert picture is not None
    step = picture.nbytes
    start = following = works[0].offset
    for work in works:
        if work.offset != following:
            return None
        following += step
    return memory[start:following].reshape(len(works), *picture.shape)


def _private(size: int) -> mmap.mmap:
    """Memory of this process alone: what Python maps by itself is shared with children, and is never given back."""
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def anonymous_file(size: int) -> int:
    """A file descriptor of `size` zero bytes in memory that has no name."""
    if sys.platform == "linux":
        fd = os.memfd_create("segx-arena", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp(prefix="segx-arena-")
        os.unlink(path)  # noqa: PTH108 - a file without a name, no path to speak of
    os.ftruncate(fd, size)
    return fd
