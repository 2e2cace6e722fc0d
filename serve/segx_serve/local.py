"""Model files served from one process: loaded, loaded again and unloaded beside the requests it answers.

ONNX Runtime keeps Python's interpreter to itself while it opens a file, so requests wait that long; where that
matters, hosts load in processes of their own.
"""

from __future__ import annotations

import asyncio
import logging

from segx_core.errors import SegxError
from segx_core.predictor import Predictor
from segx_serve.device import DeviceRunner
from segx_serve.gpu_memory import GpuMemory
from segx_serve.http import RefusalError
from segx_serve.loading import load
from segx_serve.repository import Found, Repository, changes
from segx_serve.service import LocalService, Part
from segx_serve.settings import Settings, on_gpu

_log = logging.getLogger("segx.serve")


class FileService(LocalService):
    """A service over a repository's files.

    Raises:
        SegxError: a file cannot be used.
    """

    def __init__(self, repository: Repository, settings: Settings, provider: str, force: bool) -> None:
        super().__init__(settings, {})
        self._repository = repository
        self._provider = provider
        self._force = force
        self._changing = asyncio.Lock()
        found = repository.scan()
        self.parts = [self._open(one) for one in found.values()]
        self.offer()
        self._known = found
        memory = GpuMemory()
        if any(on_gpu(part.model.provider) for part in self.parts) and memory.used() is not None:
            self.tally.gauge("segx_gpu_memory_bytes", {}, lambda: memory.used() or 0)
        self._following: asyncio.Task[None] | None = None

    def describe(self) -> list[str]:
        """A line for each model."""
        return [part.runner.describe() for part in self.parts if isinstance(part.runner, Predictor | DeviceRunner)]

    async def start(self) -> None:
        """Start the threads, and follow the folders."""
        await super().start()
        if self._repository.folders:
            self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Follow nothing any more, and end the threads."""
        if self._following is not None:
            self._following.cancel()
        await super().stop()

    async def _follow(self) -> None:
        async for name, there in changes(self._repository, self._known):
            try:
                await (self.load(name) if there else self.unload(name))
            except RefusalError as refusal:
                _log.error("model '%s' changed on disk and is not taken: %s", name, refusal.message)

    async def load(self, name: str) -> None:
        """Load or reload all versions of a model from their files, warm them up, and switch."""
        async with self._changing:
            found = [one for one in self._repository.scan().values() if one.name == name]
            if not found:
                raise RefusalError(404, "unknown_model", f"There is no model '{name[:100]}' among the files served.")
            try:
                fresh = [await asyncio.to_thread(self._open, one) for one in found]
            except SegxError as error:
                raise RefusalError(400, "model_broken", str(error)) from None
            for part in fresh:
                part.engine.start()
                while not part.engine.warmed.is_set() and not part.engine.failure:
                    await asyncio.sleep(0.005)
            failures = [part.engine.failure for part in fresh if part.engine.failure]
            if failures:
                for part in fresh:
                    await asyncio.to_thread(part.engine.stop, 1.0)
                raise RefusalError(400, "model_broken", f"Model '{name[:100]}' is not taken: {failures[0]}.")
            self.unloaded.pop(name, None)
            await self._replace(name, fresh)

    async def unload(self, name: str) -> None:
        """Serve a model no longer."""
        async with self._changing:
            self.catalog.find(name)
            self.unloaded[name] = "unloaded"
            await self._replace(name, [])

    def _open(self, found: Found) -> Part:
        predictor = load(found.path, self.settings, self._provider, found.card, self._force)
        return self.part(found.name, found.version, predictor)

    async def _replace(self, name: str, fresh: list[Part]) -> None:
        old = [part for part in self.parts if part.model.name == name]
        self.parts = [part for part in self.parts if part.model.name != name] + fresh
        self.offer()
        calls = self.desk.others({id(part.engine) for part in self.parts})
        while self.desk.open(calls):
            await asyncio.sleep(0.01)
        for part in old:
            await asyncio.to_thread(part.engine.stop, max(1.0, self.settings.drain_seconds))
