"""The threads that run one model: take a batch, run it, hand the results on; a failing batch is halved and retried.

It knows runners only as `run(batch)`; where jobs come from and go to is the pipeline's business.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import numpy as np

from segx_core.runner import ClassMap, Runner, UInt8
from segx_serve.batcher import Batcher
from segx_serve.job import ExpiredError, GoneError, LostError, Work
from segx_serve.workers import join

_log = logging.getLogger("segx.serve")
W = TypeVar("W", bound=Work)


class RunnerError(Exception):
    """The runner raised, or returned something that is no class map of the batch. The text is for the log only."""


class Engine(Generic[W]):
    """`count` threads over one runner and one batcher.

    Args:
        warm_up: (1, H, W, 3) run once before `warmed` is set, so that the first caller does not pay for it.
        finished: called in an engine thread with the jobs of one batch, each with `classmap` or `error` set.
        together: brings the pictures of a batch together without a copy; None where that cannot be.
    """

    def __init__(
        self,
        name: str,
        runner: Runner,
        batcher: Batcher[W],
        count: int,
        warm_up: UInt8,
        finished: Callable[[list[W]], None],
        together: Callable[[list[W]], UInt8 | None],
    ) -> None:
        self.warmed = threading.Event()
        self.failure = ""
        """Why warm-up failed or what hangs, for the readiness answer; empty while all is well."""
        self.put = batcher.put
        self.put_all = batcher.put_all
        self._hung = False
        self._name = name
        self._runner = runner
        self._batcher = batcher
        self._warm_up = warm_up
        self._finished = finished
        self._together = together
        self._busy: dict[int, tuple[float, list[W]]] = {}  # thread -> when its present run began, and of what
        self._threads = [
            threading.Thread(target=self._work, args=(i,), name=f"segx-engine-{name}-{i}", daemon=True)
            for i in range(count)
        ]

    @property
    def ready(self) -> bool:
        """Whether it has been warmed up and nothing hangs."""
        return self.warmed.is_set()

    @property
    def refuses(self) -> str:
        """Why no picture can be put in now; while it warms up, pictures wait."""
        return self.failure if self._hung else ""

    @property
    def depth(self) -> int:
        """Decoded pictures that wait."""
        return len(self._batcher)

    def run_here(self, jobs: list[W]) -> bool:
        """Run jobs in the caller's thread, where waking an engine would cost more than the run; False: do queue them.

        Only for runners that take several threads at once, and for jobs of one size.
        """
        height, width = jobs[0].shape
        if not self.warmed.is_set() or not self._batcher.brief(len(jobs), len(jobs) * height * width):
            return False
        self._take(jobs, threading.get_ident())
        return True

    def start(self) -> None:
        """Start the threads; the first one warms up, the others work at once."""
        for thread in self._threads:
            thread.start()

    def stop(self, patience: float) -> None:
        """Finish what is queued, then end the threads; a run longer than `patience` seconds is left behind."""
        self._batcher.close()
        join(self._threads, patience)

    def busy(self) -> float:
        """Seconds that the oldest present run has taken; 0 while nothing runs."""
        began = min((began for began, _ in list(self._busy.values())), default=None)
        return 0.0 if began is None else time.perf_counter() - began

    def overdue(self, seconds: float) -> list[W]:
        """The jobs of runs that have taken longer than `seconds`; those that wait behind them end as lost."""
        limit = time.perf_counter() - seconds
        hung = [job for began, jobs in list(self._busy.values()) if began < limit for job in jobs]
        if not hung:
            return []
        self._hung = True
        self.failure = f"a run has not ended within {seconds:g} s"
        self.warmed.clear()
        waiting = self._batcher.drain()
        for job in waiting:
            job.error = LostError()
        if waiting:
            self._finished(waiting)
        return hung

    def _work(self, number: int) -> None:
        if number == 0:
            self._warm()
        while (jobs := self._batcher.take()) is not None:
            self._take(jobs, number)

    def _take(self, jobs: list[W], number: int) -> None:
        live = [job for job in jobs if _still_wanted(job)]
        if live:
            self._busy[number] = (time.perf_counter(), live)
            try:
                self._run(live)
            except Exception as error:  # noqa: BLE001 - the thread and everybody's answers must outlive a bug of ours
                _log.exception("model '%s': a batch failed in a way it never should", self._name)
                for job in live:
                    job.error = job.error or (error if job.classmap is None else None)
            del self._busy[number]
            if self._hung and not self._busy:
                # It took its time, and did end: whoever waited was answered, and others may come again.
                self._hung, self.failure = False, ""
                self.warmed.set()
        self._finished(jobs)

    def _warm(self) -> None:
        self._busy[0] = (time.perf_counter(), [])
        try:
            run_checked(self._runner, self._warm_up)
        except (RunnerError, MemoryError):
            _log.exception("model '%s' failed its warm-up run", self._name)
            self.failure = "its warm-up run failed; the log says why"
        else:
            self.failure = ""
            self.warmed.set()
        del self._busy[0]

    def _run(self, jobs: list[W]) -> None:
        began = time.perf_counter()
        try:
            maps = run_checked(self._runner, self._batch(jobs))
        except (RunnerError, MemoryError) as error:
            failure = error
        else:
            self._batcher.ran(maps.size, time.perf_counter() - began)
            for job, classmap in zip(jobs, maps, strict=True):
                job.classmap = classmap
                job.timing.run += job.end()
                job.batch = len(jobs)
            jobs[0].first = True
            return
        if len(jobs) == 1:
            _log.error("model '%s' failed on one picture", self._name, exc_info=failure)
            jobs[0].error = failure
            jobs[0].timing.run += jobs[0].end()
            return
        # One picture that the model cannot digest, or too little memory for all: halves, down to each alone.
        _log.warning("a batch of %d for model '%s' failed and is halved", len(jobs), self._name)
        middle = len(jobs) // 2
        self._run(jobs[:middle])
        self._run(jobs[middle:])

    def _batch(self, jobs: list[W]) -> UInt8:
        if len(jobs) == 1:
            (picture,) = (job.picture for job in jobs)
            assert picture is not None
            return picture[None]
        batch = self._together(jobs)
        if batch is None:
            batch = np.stack([job.picture for job in jobs if job.picture is not None])
        assert len(batch) == len(jobs)
        return batch  # (N, H, W, 3) uint8


def run_checked(runner: Runner, batch: UInt8) -> ClassMap:
    """Run, and hold the runner to its protocol.

    Args:
        batch: (N, H, W, 3) uint8 RGB.

    Returns:
        (N, H, W) uint8 or uint16 class indices.

    Raises:
        MemoryError: there was too little.
        RunnerError: whatever else went wrong inside the runner.
    """
    try:
        maps = np.asarray(runner.run(batch))
    except MemoryError:
        raise
    except Exception as error:  # a runner is foreign code; its failure is one request's, not ours
        raise RunnerError(f"{type(error).__name__}: {error}") from error
    if maps.shape != batch.shape[:3] or maps.dtype not in (np.uint8, np.uint16):
        raise RunnerError(f"expected uint8 or uint16 of shape {batch.shape[:3]}, got {maps.dtype} {maps.shape}")
    return cast(ClassMap, maps)


def _still_wanted(job: Work) -> bool:
    if job.ended:
        return False
    try:
        job.begin()
    except (ExpiredError, GoneError) as error:
        job.error = error
        return False
    return True
