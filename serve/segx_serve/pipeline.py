"""The way of one job: decode -> batch -> run -> encode -> back to the event loop, each in its own threads.

    event loop ──submit──> codec threads: decode ──> batcher ──> engine threads: run ──> codec threads: encode
        ^                        │ (broken, expired, gone)          │                           │
        └──────────── mailbox <──┴──────────────────────────────────┴───────────────────────────┘

It knows nothing of HTTP: what went wrong travels as an exception in `job.error`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from segx_core.errors import PictureError
from segx_core.picture import Limits, decode, size_of
from segx_serve.admission import FullError
from segx_serve.job import ExpiredError, GoneError, Job
from segx_serve.mailbox import Mailbox
from segx_serve.metrics import Metrics
from segx_serve.workers import Workers

_log = logging.getLogger("segx.serve")
Put = Callable[[Job], None]


class Pipeline:
    """The stages that all models share; each model brings its own batcher and engine.

    Args:
        max_pixels: pictures above it are refused from their header, before anything is decoded.
    """

    def __init__(self, workers: Workers, mailbox: Mailbox, metrics: Metrics, max_pixels: int) -> None:
        self._workers = workers
        self._mailbox = mailbox
        self._metrics = metrics
        self._limits = Limits(max_pixels=max_pixels)

    def submit(self, job: Job, put: Put) -> None:
        """Start a job on its way; `put` queues it for its model once decoded. `job.done` tells when it ended."""
        self._workers.submit(partial(self._decode, job, put))

    def ran(self, jobs: list[Job]) -> None:
        """Take the jobs of one batch from an engine thread."""
        failed = [job for job in jobs if job.error is not None]
        if failed:
            self._end(failed)
        for job in jobs:
            if job.error is None:
                self._workers.submit(partial(self._encode, job))

    def _decode(self, job: Job, put: Put) -> None:
        try:
            job.begin()
            height, width = size_of(job.body)
            if height * width <= self._limits.max_pixels:
                job.ticket.grow(3 * height * width)
            job.picture = decode(job.body, self._limits)
        except (PictureError, ExpiredError, GoneError, FullError, MemoryError) as error:
            job.error = error
        except Exception as error:  # noqa: BLE001 - the job must end whatever happens
            _log.exception("a decoder failed in a way it never should")
            job.error = error
        job.timing.decode = job.end()
        job.body = b""
        if job.error is not None:
            self._end([job])
            return
        put(job)

    def _encode(self, job: Job) -> None:
        try:
            job.begin(expires=False)
            job.payload = job.encode(job)
        except (GoneError, MemoryError) as error:
            job.error = error
        except Exception as error:  # noqa: BLE001 - the job must end whatever happens
            _log.exception("an answer could not be encoded")
            job.error = error
        job.timing.encode = job.end()
        self._end([job])

    def _end(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.picture = job.classmap = None
            self._metrics.stages(job.timing)
        self._mailbox.post(jobs)
