"""Who may come in: a bound on requests for the whole service, and on bytes held by each of its processes.

It knows nothing of what a request does inside; a ticket is opened at the door and closed at the end, whatever happens.
"""

from __future__ import annotations

import mmap
import threading
from types import TracebackType
from typing import Self


class FullError(Exception):
    """The service holds all it may hold. `reason` is "requests" or "bytes"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Board:
    """Where front-ends write how many requests each has inside, in memory that they share.

    Read without a lock: two that let a request in at the same moment may together pass the bound by one each, which
    harms nobody.

    Args:
        fd: a file of four bytes a front-end, mapped here; it may be closed afterwards.
        own: this front-end's number.
    """

    def __init__(self, fd: int, count: int, own: int) -> None:
        self._counts = memoryview(mmap.mmap(fd, 4 * count)).cast("i")
        self._own = own

    def total(self) -> int:
        """Requests inside, in all front-ends."""
        return sum(self._counts)

    def write(self, requests: int) -> None:
        """Say how many are inside here."""
        self._counts[self._own] = requests

    def clear(self, number: int) -> None:
        """Forget what a front-end that is gone had inside."""
        self._counts[number] = 0


class Admission:
    """The counters behind all tickets. Tickets grow on the event loop and in codec threads, hence the lock.

    Args:
        board: where the requests of all front-ends add up; None where there is but one process.
    """

    def __init__(self, max_requests: int, max_bytes: int, board: Board | None = None) -> None:
        self._board = board
        self._lock = threading.Lock()
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether a further request would be refused now."""
        return self._inside() >= self._max_requests

    def ticket(self) -> Ticket:
        """A ticket that holds nothing yet: a client that is still sending takes bytes but no place."""
        return Ticket(self)

    def _take(self, requests: int, size: int) -> None:
        with self._lock:
            if requests and self._inside() + requests > self._max_requests:
                raise FullError("requests")
            if self.bytes + size > self._max_bytes:
                raise FullError("bytes")
            self.bytes += size
            if requests:
                self._count(requests)

    def _inside(self) -> int:
        return self.requests if self._board is None else self._board.total()

    def _count(self, more: int) -> None:
        self.requests += more
        if self._board is not None:
            self._board.write(self.requests)

    def _give_back(self, requests: int, size: int) -> None:
        with self._lock:
            self.bytes -= size
            if requests:
                self._count(-requests)


class Ticket:
    """What one request holds. Use as a context manager; leaving gives everything back."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._requests = 0
        self._bytes = 0

    def enter(self, places: int = 1) -> None:
        """Take places among the requests, one for each picture.

        Raises:
            FullError: there are not as many.
        """
        self._admission._take(places, 0)
        self._requests += places

    def grow(self, size: int) -> None:
        """Hold `size` more bytes.

        Raises:
            FullError: they would pass the bound.
        """
        self._admission._take(0, size)
        self._bytes += size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back; a second time does nothing."""
        requests, size = self._requests, self._bytes
        if requests or size:
            self._requests = self._bytes = 0
            self._admission._give_back(requests, size)
