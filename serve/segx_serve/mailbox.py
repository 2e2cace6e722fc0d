"""Finished jobs from any thread to the event loop, with one wake-up for all that finish together.

Waking an event loop costs a system call and a trip through its selector; at thousands of answers a second that is
the largest single cost of a service, so a wake-up is asked for only when none is already on its way.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable

from segx_serve.job import Job

_log = logging.getLogger("segx.serve")


class Mailbox:
    """Opened on the event loop that the jobs' calls belong to; `post` may then be called from any thread.

    Args:
        deliver: called on the event loop with one job after the other.
    """

    def __init__(self, deliver: Callable[[Job], None]) -> None:
        self._deliver = deliver
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finished: deque[Job] = deque()
        self._awake = False

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop the jobs belong to; once, before the first `post`."""
        self._loop = loop

    def post(self, jobs: Iterable[Job]) -> None:
        """Deliver jobs. Harmless after the loop has closed: nobody waits then."""
        assert self._loop is not None
        self._finished.extend(jobs)
        # A lost race here only means one wake-up too many: the flag is cleared before the deque is read.
        if not self._awake and not self._loop.is_closed():
            self._awake = True
            self._loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        self._awake = False
        finished = self._finished
        while finished:
            try:
                self._deliver(finished.popleft())
            except Exception:  # noqa: BLE001 - what fails for one must not keep the others' answers
                _log.exception("a finished picture could not be delivered")
