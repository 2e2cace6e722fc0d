"""A call and its pictures on their way through the service: what is known of them, and how their stages ended.

A job is one picture; it is handed from thread to thread, each stage owning it alone. A call is the one or several
pictures of one request; it belongs to the event loop, and stages only read from it whether anybody still waits.
Engines see of a job only what is Work, so that they can run in a process of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segx_core.runner import ClassMap, UInt8
from segx_serve.admission import Ticket

Encode = Callable[["Job"], "Payload"]


class ExpiredError(Exception):
    """The job waited past its deadline."""


class GoneError(Exception):
    """The client hung up while the job waited."""


class LostError(Exception):
    """What ran the model ended or hung while the job was with it. Nothing is known of the picture's share in that."""


class StoppedError(Exception):
    """The service stopped before it came to the job."""


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


class Wait:
    """Whether, and until when, somebody waits for an answer."""

    __slots__ = ("deadline", "gone")

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline
        """time.perf_counter() after which it is not worth running; None for never."""
        self.gone = False
        """Set when nobody waits any more."""


class Work:
    """One decoded picture as an engine sees it, in whichever process that is."""

    __slots__ = ("batch", "classmap", "ended", "error", "first", "offset", "picture", "since", "timing", "wait")

    def __init__(self, wait: Wait, since: float) -> None:
        self.wait = wait
        self.since = since
        """When the present wait began, time.perf_counter()."""
        self.timing = Timing()
        self.picture: UInt8 | None = None
        """(H, W, 3) uint8 RGB once decoded."""
        self.offset = -1
        """Where it lies in its process's arena."""
        self.classmap: ClassMap | None = None
        """(H, W) once run."""
        self.error: Exception | None = None
        self.batch = 0
        """Pictures that ran together with it, itself included; 0 for one that never ran."""
        self.first = False
        """Whether it was the first of its batch, so that a batch is counted once."""
        self.ended = False
        """Set on the event loop, once; what comes later is late."""

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
        wait = self.wait
        if wait.gone:
            raise GoneError
        if expires and wait.deadline is not None and now > wait.deadline:
            raise ExpiredError

    def end(self) -> float:
        """End work and begin a wait: returns the seconds worked."""
        now = time.perf_counter()
        worked = now - self.since
        self.since = now
        return worked


class Call(Wait):
    """The pictures of one request.

    Args:
        sources: picture files as bytes, or decoded (H, W, 3) uint8 RGB.
        ticket: grows with what the pictures hold; whoever opened it closes it.
        encode: makes a picture's part of the answer out of its finished job, in any thread.
        light: pictures of up to so many pixels are encoded on the event loop, because a trip to another thread
            would cost more than the work.
        deadline: see Wait.
        done: called on the event loop once every job has ended.
        lane: where the pictures go.
    """

    __slots__ = ("done", "encode", "jobs", "lane", "light", "ticket", "waiting")

    def __init__(
        self,
        sources: Sequence[bytes | UInt8],
        ticket: Ticket,
        encode: Encode,
        light: int,
        deadline: float | None,
        done: Callable[[Call], None],
        lane: object = None,
    ) -> None:
        super().__init__(deadline)
        self.lane = lane
        self.ticket = ticket
        self.encode = encode
        self.light = light
        self.done = done
        now = time.perf_counter()
        self.jobs = [Job(self, source, now) for source in sources]
        self.waiting = len(self.jobs)


class Job(Work):
    """One picture of a call, from its bytes to its part of the answer."""

    __slots__ = ("call", "payload", "place", "room", "source")

    def __init__(self, call: Call, source: bytes | UInt8, since: float) -> None:
        super().__init__(call, since)
        self.call = call
        self.source: bytes | UInt8 | None = source
        """Let go of once decoded."""
        self.place: tuple[int, int] | None = None
        """Offset and bytes of the picture in the arena, while it has that place."""
        self.room: tuple[int, int] | None = None
        """Offset and bytes for its class map, where another process writes that."""
        self.payload: Payload | None = None
