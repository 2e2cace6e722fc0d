"""The parts of one serving process, put together, started and ended. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from segx_core.runner import Runner
from segx_serve import models
from segx_serve.admission import Admission, Board
from segx_serve.arena import Arena
from segx_serve.catalog import Catalog
from segx_serve.desk import Desk
from segx_serve.engine import Engine
from segx_serve.http import RefusalError
from segx_serve.job import Job, LostError
from segx_serve.models import Lane, Model
from segx_serve.pipeline import Pipeline
from segx_serve.procfs import usage
from segx_serve.settings import Settings
from segx_serve.tally import Snapshot, Tally
from segx_serve.workers import Workers

_log = logging.getLogger("segx.serve")
# How often runs that take too long are looked for, seconds.
_LOOK = 0.5


class Service:
    """What every serving process has: a catalogue, a pipeline, and a desk in front of it.

    Args:
        shared: models run in another process, which reads pictures from this one's memory and writes class maps to it.
        board: where the requests inside all front-ends add up; None where there is but one process.
    """

    def __init__(self, settings: Settings, *, shared: bool, board: Board | None = None) -> None:
        self.settings = settings
        self.shared = shared
        self.tally = Tally()
        self.catalog = Catalog()
        self.unloaded: dict[str, str] = {}
        """Models that were served and no longer are: name -> why."""
        self.running = False
        self.arena = Arena(settings.max_queue_bytes, shared=shared)
        self.rooms = Arena(settings.max_queue_bytes, shared=True) if shared else None
        self._workers = Workers(settings.codec_threads(), "segx-codec")
        self.pipeline = Pipeline(self._workers, self.tally, self.arena, self.rooms, settings.max_pixels)
        admission = Admission(settings.max_queue, settings.max_queue_bytes, board)
        self.desk = Desk(settings, admission, self.pipeline, self.tally)
        self.tally.gauge("segx_requests_inside", {}, lambda: admission.requests)
        self.tally.gauge("segx_bytes_held", {}, lambda: admission.bytes)
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the threads; on the event loop that serves."""
        self.pipeline.open(asyncio.get_running_loop())
        self._workers.start()
        self._watch = asyncio.create_task(self._look())
        self.running = True

    async def stop(self) -> None:
        """End the threads; requests that are still inside are answered that the service stops."""
        self.running = False
        self.desk.abandon_all()
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        await asyncio.to_thread(self._workers.stop, max(1.0, self.settings.drain_seconds))

    async def load(self, name: str) -> None:
        """Load or reload a model from its file.

        Raises:
            RefusalError: it could not be; what was served before is served on.
        """
        self.catalog.find(name)
        raise RefusalError(409, "no_file", f"Model '{name[:100]}' does not come from a file that could be loaded.")

    async def unload(self, name: str) -> None:
        """Serve a model no longer.

        Raises:
            RefusalError: there is none of that name.
        """
        self.catalog.find(name)
        raise RefusalError(409, "no_file", f"Model '{name[:100]}' does not come from a file and stays.")

    async def share(self, message: dict[str, Any]) -> None:
        """Have the other processes that serve beside this one do what this one just did; there are none here."""

    def show_models(self) -> None:
        """Let the metrics tell of the models that the catalogue has now."""
        self.tally.clear_gauges("segx_model_info", "segx_queue_depth")
        for model in self.catalog:
            self.tally.gauge("segx_model_info", model.labels, lambda: 1)
            labels = {"model": model.name, "version": model.version}
            self.tally.gauge("segx_queue_depth", labels, partial(_depth, model.lane))

    async def snapshot(self) -> Snapshot:
        """What was counted, by this process or by all that serve together."""
        return self.tally.snapshot()

    async def _look(self) -> None:
        """Answer requests whose run hangs, so that no client waits for ever."""
        while True:
            await asyncio.sleep(_LOOK)
            for model in self.catalog:
                hung = [job for job in model.lane.overdue(self.settings.run_timeout) if not job.ended]
                if hung:
                    _log.error("model '%s': %s", model.name, model.lane.failure)
                for job in hung:
                    self.pipeline.abandon(job, LostError())


@dataclass(frozen=True)
class Part:
    """One version of one model, in this process."""

    model: Model
    runner: Runner
    engine: Engine[Job]


class LocalService(Service):
    """A service whose models run in its own process.

    Raises:
        ConfigError: a name that cannot stand in an address.
    """

    def __init__(self, settings: Settings, runners: Mapping[str, Runner]) -> None:
        super().__init__(settings, shared=False)
        role = {"role": "service"}
        self.tally.gauge("segx_processes", role, lambda: 1)
        self.tally.gauge("segx_process_resident_bytes", role, lambda: usage(os.getpid())[0])
        self.tally.gauge("segx_process_cpu_seconds", role, lambda: usage(os.getpid())[1])
        self.parts = [self.part(name, "1", runner) for name, runner in runners.items()]
        self.offer()

    def part(self, name: str, version: str, runner: Runner) -> Part:
        """A runner with an engine around it, not started."""
        engine: Engine[Job] = models.engine_for(name, runner, self.settings, self.pipeline.ran, self.arena.together)
        card, provider = models.card_of(runner), models.provider_of(runner)
        model = models.describe(name, version, card, provider, getattr(runner, "size_bytes", None), engine)
        return Part(model, runner, engine)

    def offer(self) -> None:
        """Serve what is in `parts` now."""
        self.catalog.replace(part.model for part in self.parts)
        self.show_models()

    async def start(self) -> None:
        """Start the threads; models warm up in theirs."""
        await super().start()
        for part in self.parts:
            part.engine.start()

    async def stop(self) -> None:
        """End the engines, then the rest."""
        self.running = False
        patience = max(1.0, self.settings.drain_seconds)
        for part in self.parts:
            await asyncio.to_thread(part.engine.stop, patience)
        await super().stop()


def _depth(lane: Lane) -> float:
    return lane.depth
