"""A front-end's side of a host: lanes that hand decoded pictures to another process through shared memory.

When the host goes, all that it held ends at once as lost; the supervisor starts a new one, and a new link comes with
it. Knows nothing of how a host is started.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from pathlib import Path

from segx_serve import wire
from segx_serve.arena import Arena
from segx_serve.engine import RunnerError
from segx_serve.job import ExpiredError, GoneError, Job, LostError
from segx_serve.pipeline import Pipeline
from segx_serve.wire import Asked, Memory, Told

_log = logging.getLogger("segx.serve")
# How often the host is told of clients that hung up, while it holds anything; seconds.
_TELL = 0.05


class Link:
    """One connection to one host. Made, read and closed on the event loop; `send` may come from any thread.

    Raises:
        OSError: there is no file descriptor for it.
    """

    def __init__(self, pipeline: Pipeline, arena: Arena, rooms: Arena) -> None:
        self.up = False
        self._pipeline = pipeline
        self._memory = Memory(arena.fd, rooms.fd, arena.size, rooms.size)
        self._rooms = rooms
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._records = wire.Records(Told)
        self._lock = threading.Lock()  # over everything below
        self._held: dict[int, Job] = {}
        self._gone: set[int] = set()  # held, and the host was told that nobody waits
        self._free: list[int] = []
        self._outbox: list[bytes] = []
        self._scheduled = False
        self._telling = False

    def open(self, path: Path) -> None:
        """Connect and share this process's memory.

        Raises:
            OSError: nobody listens there.
        """
        self._socket.connect(str(path))
        wire.greet(self._socket, self._memory)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._read)
        self.up = True

    def close(self) -> None:
        """End the connection; what is held ends as lost."""
        with self._lock:
            self.up = False
            held = list(self._held.values())
            self._held.clear()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
        for job in held:
            job.error = LostError()
        self._pipeline.ran_here(held)

    @property
    def depth(self) -> int:
        """Pictures that the host holds."""
        return len(self._held)

    def overdue(self, seconds: float) -> list[Job]:
        """Jobs that the host has held for longer than `seconds`."""
        limit = time.perf_counter() - seconds
        with self._lock:
            return [job for job in self._held.values() if job.since < limit and not job.ended]

    def send(self, job: Job, model: int) -> None:
        """Hand a decoded job to the host."""
        assert job.place is not None
        assert job.room is not None
        height, width = job.shape
        here = threading.get_ident() == self._thread
        with self._lock:
            up = self.up
            if up:
                number = self._free.pop() if self._free else len(self._held)
                self._held[number] = job
                asked = Asked(
                    number, model, wire.WANTED, height, width, job.place[0], job.room[0], job.call.deadline or 0.0
                )
                self._outbox.append(wire.pack_asked(asked))
                if not here:
                    self._write()
                    if not self._telling:
                        self._telling = True
                        self._loop.call_soon_threadsafe(self._loop.call_later, _TELL, self._tell)
                elif not self._scheduled:
                    # One write for all that is decoded in this turn of the loop.
                    self._scheduled = True
                    self._loop.call_soon(self._flush)
        if not up:
            job.error = LostError()
            self._pipeline.ran([job])

    def _flush(self) -> None:
        with self._lock:
            self._scheduled = False
            self._write()
            if not self._telling and self._held:
                self._telling = True
                self._loop.call_later(_TELL, self._tell)

    def _write(self) -> None:
        """Write what is in the outbox, as far as it goes; with the lock held."""
        data = b"".join(self._outbox)
        self._outbox.clear()
        try:
            sent = self._socket.send(data) if self.up and data else len(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the host is gone; reading tells, and ends what it held
        if sent < len(data):
            self._outbox.append(data[sent:])
            self._loop.call_soon_threadsafe(self._when_writable)

    def _when_writable(self) -> None:
        if self.up:
            self._loop.add_writer(self._socket.fileno(), self._go_on)

    def _go_on(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
        self._flush()

    def _tell(self) -> None:
        """Tell the host of pictures that nobody waits for any more."""
        with self._lock:
            self._telling = bool(self._held)
            for number, job in self._held.items():
                if job.call.gone and number not in self._gone:
                    self._gone.add(number)
                    self._outbox.append(wire.pack_asked(Asked(number, 0, wire.GONE, 0, 0, 0, 0, 0.0)))
            if self._outbox:
                self._write()
            if self._telling:
                self._loop.call_later(_TELL, self._tell)

    def _read(self) -> None:
        try:
            told = list(self._records.read(self._socket))
        except BlockingIOError:
            return
        except (EOFError, OSError):
            self.close()
            return
        now = time.perf_counter()
        jobs = []
        with self._lock:
            for one in told:
                assert isinstance(one, Told)
                job = self._held.pop(one.number)
                self._free.append(one.number)
                self._gone.discard(one.number)
                jobs.append(job)
                self._note(job, one, now)
        self._pipeline.ran_here(jobs)

    def _note(self, job: Job, told: Told, now: float) -> None:
        job.timing.run = told.run
        job.timing.queue += max(0.0, now - job.since - told.run)
        job.since = now
        match told.how:
            case wire.FINE | wire.FINE_WIDE:
                assert job.room is not None
                job.classmap = self._rooms.array(job.room[0], job.shape, wire.index_type(told.how))
                job.batch = told.batch
                job.first = bool(told.first)
            case wire.EXPIRED:
                job.error = ExpiredError()
            case wire.LEFT:
                job.error = GoneError()
            case wire.MEMORY:
                job.error = MemoryError()
            case wire.UNKNOWN:
                job.error = LostError()
            case _:
                job.error = RunnerError("the process that runs the model says why in its log")


class RemoteLane:
    """One model in one host.

    Args:
        model: the host's number of it.
        failure: why it cannot run, empty where it can.
    """

    def __init__(self, link: Link | None, model: int, failure: str = "") -> None:
        self._link = link
        self._model = model
        self._failure = failure

    @property
    def ready(self) -> bool:
        """Whether the host has warmed it up and is there."""
        return self._link is not None and self._link.up

    @property
    def failure(self) -> str:
        """Why it cannot run; empty while all is well or it is still being started."""
        return self._failure

    @property
    def refuses(self) -> str:
        """Why no picture can be put in now."""
        return "" if self.ready else self._failure or "it is being started"

    @property
    def depth(self) -> int:
        """Decoded pictures with the host, for all its models."""
        return self._link.depth if self._link else 0

    def put(self, job: Job) -> None:
        """Queue a decoded job; from any thread."""
        assert self._link is not None
        self._link.send(job, self._model)

    def overdue(self, seconds: float) -> list[Job]:
        """Jobs that the host ought to have answered long ago: it has twice the time before its supervisor ends it."""
        return self._link.overdue(2 * seconds + 10) if self._link else []
