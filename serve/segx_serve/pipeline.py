"""The way of one picture: decode -> lane (batch, run) -> encode -> the end of its call.

    event loop ──submit──> codec threads: decode ──> lane: batch, run ──> codec threads: encode
        ^                        │ (broken, expired, gone)       │                    │
        └──────────── mailbox <──┴───────────────────────────────┴────────────────────┘

Small pictures are decoded and encoded on the event loop itself, because handing them over would cost more than the
work does. It knows nothing of HTTP: what went wrong travels as an exception in `job.error`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterable
from functools import partial
from typing import Protocol

import numpy as np

from segx_core.errors import PictureError
from segx_core.picture import Limits, opened
from segx_serve.admission import FullError
from segx_serve.arena import Arena
from segx_serve.job import Call, ExpiredError, GoneError, Job
from segx_serve.mailbox import Mailbox
from segx_serve.tally import Tally
from segx_serve.workers import Workers

_log = logging.getLogger("segx.serve")
# A JPEG of up to so many bytes is decoded on the event loop where its header promises at most so many pixels:
# 0.1 ms of work at the worst, about what waking a thread and being woken by it costs.
_SMALL_FILE = 16 * 1024
_SMALL_PICTURE = 96 * 96
# Above so many pixels pictures are decoded one at a time: decoders need several times a picture's memory meanwhile.
_HUGE = 16_000_000
_TOGETHER: contextlib.nullcontext[None] = contextlib.nullcontext()


class Lane(Protocol):
    """Where decoded pictures of one model go; their jobs come back through Pipeline.ran or Pipeline.ran_here."""

    def put(self, job: Job) -> None:
        """Queue a decoded job; from any thread."""
        ...


class Pipeline:
    """The stages that all models share; each model brings a lane of its own.

    Args:
        arena: where decoded pictures lie.
        rooms: where another process writes class maps; None where models run in this process.
        max_pixels: pictures above it are refused from their header, before anything is decoded.
    """

    def __init__(self, workers: Workers, tally: Tally, arena: Arena, rooms: Arena | None, max_pixels: int) -> None:
        self._workers = workers
        self._tally = tally
        self._arena = arena
        self._rooms = rooms
        self._limits = Limits(max_pixels=max_pixels)
        self._mailbox = Mailbox(self._arrived)
        self._alone = threading.Lock()

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which event loop calls belong to; once, before the first call."""
        self._mailbox.open(loop)

    def submit(self, call: Call, lane: Lane) -> None:
        """Start the jobs of a call on their way; on the event loop."""
        for job in call.jobs:
            source = job.source
            small = isinstance(source, bytes) and len(source) <= _SMALL_FILE and source.startswith(b"\xff\xd8")
            if small and self._decode(job, _SMALL_PICTURE):
                if job.error is None:
                    lane.put(job)
                else:
                    self._end(job)
            else:
                self._workers.submit(partial(self._decode_there, job, lane))

    def ran(self, jobs: list[Job]) -> None:
        """Take the jobs of one batch from an engine thread."""
        here = []
        for job in jobs:
            if _heavy(job):
                self._workers.submit(partial(self._encode_there, job))
            else:
                here.append(job)
        if here:
            self._mailbox.post(here)

    def ran_here(self, jobs: Iterable[Job]) -> None:
        """Take jobs on the event loop."""
        for job in jobs:
            if _heavy(job):
                self._workers.submit(partial(self._encode_there, job))
            else:
                self._arrived(job)

    def abandon(self, job: Job, error: Exception) -> None:
        """End a job that is still with a lane, on the event loop. Its memory stays reserved until `release`."""
        if not job.ended:
            job.error = error
            self._finish(job)

    def release(self, job: Job) -> None:
        """Give back the memory of a job that nobody works on any more."""
        job.picture = job.classmap = None
        if job.place is not None:
            self._arena.give(*job.place)
            job.place = None
        if job.room is not None:
            assert self._rooms is not None
            self._rooms.give(*job.room)
            job.room = None

    def _decode_there(self, job: Job, lane: Lane) -> None:
        self._decode(job, None)
        if job.error is None:
            lane.put(job)
        else:
            self._mailbox.post((job,))

    def _decode(self, job: Job, most: int | None) -> bool:
        """Decode a job's picture, or set its error; False where it has more than `most` pixels and nothing was done."""
        try:
            source = job.source
            assert source is not None
            if isinstance(source, bytes):
                file = opened(source, self._limits)
                height, width = file.size
                if most is not None and height * width > most:
                    return False
                with self._alone if height * width > _HUGE else _TOGETHER:
                    job.begin()
                    job.picture = file.pixels(self._reserve(job, height, width))
            else:
                job.begin()
                height, width = source.shape[:2]
                if height * width > self._limits.max_pixels:
                    expected = f"a picture of at most {self._limits.max_pixels} pixels"
                    raise PictureError(expected, f"{width}x{height}", "Send it smaller.", kind="too_large")
                job.picture = self._reserve(job, height, width)
                np.copyto(job.picture, source)
        except (PictureError, ExpiredError, GoneError, FullError, MemoryError) as error:
            job.error = error
        except Exception as error:  # noqa: BLE001 - the job must end whatever happens
            _log.exception("a decoder failed in a way it never should")
            job.error = error
        job.timing.decode = job.end()
        job.source = None
        return True

    def _reserve(self, job: Job, height: int, width: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
        size = 3 * height * width
        job.call.ticket.grow(size)
        start = self._arena.take(size)
        if start is None:
            raise FullError("bytes")
        job.place = (start, size)
        job.offset = start
        if self._rooms is not None:
            # Two bytes a pixel: more than 256 classes are possible.
            start = self._rooms.take(2 * height * width)
            if start is None:
                raise FullError("bytes")
            job.room = (start, 2 * height * width)
        return self._arena.array(job.place[0], (height, width, 3))

    def _encode_there(self, job: Job) -> None:
        self._encode(job)
        self._mailbox.post((job,))

    def _encode(self, job: Job) -> None:
        try:
            job.begin(expires=False)
            job.payload = job.call.encode(job)
        except (GoneError, MemoryError, PictureError) as error:
            job.error = error
        except Exception as error:  # noqa: BLE001 - the job must end whatever happens
            _log.exception("an answer could not be encoded")
            job.error = error
        job.timing.encode = job.end()

    def _arrived(self, job: Job) -> None:
        if job.error is None and job.payload is None and not job.ended:
            self._encode(job)
        self._end(job)

    def _end(self, job: Job) -> None:
        self.release(job)
        if not job.ended:
            self._finish(job)

    def _finish(self, job: Job) -> None:
        job.ended = True
        self._tally.picture(job.timing)
        call = job.call
        call.waiting -= 1
        if not call.waiting:
            call.done(call)


def _heavy(job: Job) -> bool:
    """Whether a job's answer is still to be made, and takes so much work that another thread should do it."""
    classmap = job.classmap
    return classmap is not None and job.error is None and not job.ended and classmap.size > job.call.light
