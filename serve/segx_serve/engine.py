"""The threads that run one model: take a batch, run it, hand the results on; a failing batch is retried one by one.

It knows runners only as `run(batch)`; where jobs come from and go to is the pipeline's business.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import cast

import numpy as np

from segx_core.runner import ClassMap, Runner, UInt8
from segx_serve.batcher import Batcher
from segx_serve.job import ExpiredError, GoneError, Job
from segx_serve.workers import join

_log = logging.getLogger("segx.serve")


class RunnerError(Exception):
    """The runner raised, or returned something that is no class map of the batch. The text is for the log only."""


class Engine:
    """`count` threads over one runner and one batcher.

    Args:
        warm_up: (1, H, W, 3) run once before `ready` is set, so that the first caller does not pay for it.
        finished: called in an engine thread with the jobs of one batch, each with `classmap` or `error` set.
        ran: called with (pictures, seconds) of every successful run, for the metrics.
    """

    def __init__(
        self,
        name: str,
        runner: Runner,
        batcher: Batcher,
        count: int,
        warm_up: UInt8,
        finished: Callable[[list[Job]], None],
        ran: Callable[[int, float], None],
    ) -> None:
        self.ready = threading.Event()
        self.failure = ""
        """Why warm-up failed, for the readiness answer; empty while all is well."""
        self._name = name
        self._runner = runner
        self._batcher = batcher
        self._warm_up = warm_up
        self._finished = finished
        self._ran = ran
        self._threads = [
            threading.Thread(target=self._work, args=(i == 0,), name=f"segx-engine-{name}-{i}", daemon=True)
            for i in range(count)
        ]

    def start(self) -> None:
        """Start the threads; the first one warms up, the others work at once."""
        for thread in self._threads:
            thread.start()

    def stop(self, patience: float) -> None:
        """Finish what is queued, then end the threads; a run longer than `patience` seconds is left behind."""
        self._batcher.close()
        join(self._threads, patience)

    def _work(self, first: bool) -> None:
        if first:
            self._warm()
        while (jobs := self._batcher.take()) is not None:
            live = [job for job in jobs if _still_wanted(job)]
            if live:
                self._run(live)
            self._finished(jobs)

    def _warm(self) -> None:
        try:
            run_checked(self._runner, self._warm_up)
        except RunnerError:
            _log.exception("model '%s' failed its warm-up run", self._name)
            self.failure = "its warm-up run failed; the log says why"
        else:
            self.ready.set()

    def _run(self, jobs: list[Job]) -> None:
        start = time.perf_counter()
        try:
            maps = run_checked(self._runner, _stack(jobs))
        except (RunnerError, MemoryError) as error:
            failure = error
        else:
            self._ran(len(jobs), time.perf_counter() - start)
            for job, classmap in zip(jobs, maps, strict=True):
                job.classmap = classmap
                job.timing.run += job.end()
            return
        if len(jobs) == 1:
            _log.error("model '%s' failed on one picture", self._name, exc_info=failure)
            jobs[0].error = failure
            jobs[0].timing.run += jobs[0].end()
            return
        # One picture that the model cannot digest, or too little memory for all: each then stands alone.
        _log.warning("a batch of %d for model '%s' failed and is retried one by one", len(jobs), self._name)
        for job in jobs:
            self._run([job])


def run_checked(runner: Runner, batch: UInt8) -> ClassMap:
    """Run, and hold the runner to its protocol.

    Args:
        batch: (N, H, W, 3) uint8 RGB.

    Returns:
        (N, H, W) uint8 or uint16 class indices.

    Raises:
        RunnerError: whatever went wrong inside the runner.
    """
    try:
        maps = np.asarray(runner.run(batch))
    except Exception as error:  # a runner is foreign code; its failure is one request's, not ours
        raise RunnerError(f"{type(error).__name__}: {error}") from error
    if maps.shape != batch.shape[:3] or maps.dtype not in (np.uint8, np.uint16):
        raise RunnerError(f"expected uint8 or uint16 of shape {batch.shape[:3]}, got {maps.dtype} {maps.shape}")
    return cast(ClassMap, maps)


def _stack(jobs: list[Job]) -> UInt8:
    pictures = [job.picture for job in jobs if job.picture is not None]
    assert len(pictures) == len(jobs)
    return pictures[0][None] if len(pictures) == 1 else np.stack(pictures)  # (N, H, W, 3) uint8


def _still_wanted(job: Job) -> bool:
    try:
        job.begin()
    except (ExpiredError, GoneError) as error:
        job.error = error
        return False
    return True
