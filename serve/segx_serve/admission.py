"""Who may come in: a bound on requests and on bytes held, for the whole service.

It knows nothing of what a request does inside; a ticket is opened at the door and closed at the end, whatever happens.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self


class FullError(Exception):
    """The service holds all it may hold. `reason` is "requests" or "bytes"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Admission:
    """The counters behind all tickets. Tickets grow on the event loop and in codec threads, hence the lock."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether a further request would be refused now."""
        return self.requests >= self._max_requests

    def ticket(self) -> Ticket:
        """A ticket that holds nothing yet: a client that is still sending takes bytes but no place."""
        return Ticket(self)

    def _take(self, requests: int, size: int) -> None:
        with self._lock:
            if self.requests + requests > self._max_requests:
                raise FullError("requests")
            if self.bytes + size > self._max_bytes:
                raise FullError("bytes")
            self.requests += requests
            self.bytes += size

    def _give_back(self, requests: int, size: int) -> None:
        with self._lock:
            self.requests -= requests
            self.bytes -= size


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
