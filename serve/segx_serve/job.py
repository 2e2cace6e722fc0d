"""One picture on its way through the service: what is known of it, and how its stages ended.

A job is handed from thread to thread, each stage owning it alone; only `gone` is set from outside while it travels.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from segx_core.runner import ClassMap, UInt8
from segx_serve.admission import Ticket

Encode = Callable[["Job"], "Payload"]


class ExpiredError(Exception):
    """The job waited past its deadline."""


class GoneError(Exception):
    """The client hung up while the job waited."""


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of an answer and the headers that belong to it."""

    body: bytes
    media_type: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class Timing:
    """Seconds spent in each stage."""

    queue: float = 0.0
    decode: float = 0.0
    run: float = 0.0
    encode: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    """One picture to segment. `done` belongs to the event loop; everything else to the stage that holds the job."""

    body: bytes
    ticket: Ticket
    encode: Encode
    done: asyncio.Future[Job]
    deadline: float | None
    """time.perf_counter() after which it is not worth running."""
    gone: bool = False
    """Set by the event loop when the client hangs up."""
    since: float = field(default_factory=time.perf_counter)
    """When the present wait began."""
    timing: Timing = field(default_factory=Timing)
    picture: UInt8 | None = None
    """(H, W, 3) uint8 RGB once decoded."""
    classmap: ClassMap | None = None
    """(H, W) once run."""
    payload: Payload | None = None
    error: Exception | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the decoded picture."""
        assert self.picture is not None
        return self.picture.shape[0], self.picture.shape[1]

    def begin(self, *, expires: bool = True) -> None:
        """End a wait and begin work, if the work still makes sense.

        Args:
            expires: whether the deadline counts; an answer that only needs encoding is never thrown away.

        Raises:
            ExpiredError: the deadline has passed.
            GoneError: nobody waits for the answer any more.
        """
        now = time.perf_counter()
        self.timing.queue += now - self.since
        self.since = now
        if self.gone:
            raise GoneError
        if expires and self.deadline is not None and now > self.deadline:
            raise ExpiredError

    def end(self) -> float:
        """End work and begin a wait: returns the seconds worked."""
        now = time.perf_counter()
        worked = now - self.since
        self.since = now
        return worked
