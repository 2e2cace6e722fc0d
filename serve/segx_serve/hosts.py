"""The supervisor's view of one host and the models in it: started, watched, started again, retired.

A crash or a hang of a host costs what it held and about a second; all models it had come back with it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segx_core import errors
from segx_core.errors import ModelError, SegxError
from segx_serve.process import Backoff, Process, wait_for
from segx_serve.repository import Found
from segx_serve.settings import Settings

_log = logging.getLogger("segx.serve")


@dataclass
class Entry:
    """One version of one model as the front-ends are told of it."""

    found: Found
    key: int
    """The host's number of it."""
    state: str = "loading"
    failure: str = ""
    host: str | None = None
    """The host's socket while it can run."""
    about: str = ""
    """The card as JSON; empty until it was loaded once."""
    provider: str = "unknown"
    size_bytes: int | None = None
    describe: str = ""

    def told(self) -> dict[str, Any]:
        """For the front-ends."""
        return {
            "name": self.found.name,
            "version": self.found.version,
            "key": self.key,
            "host": self.host,
            "about": self.about,
            "provider": self.provider,
            "size_bytes": self.size_bytes,
            "failure": self.failure,
            "state": self.state,
        }


@dataclass(eq=False)
class HostGroup:
    """A host and its models.

    Args:
        folder: where its sockets go.
        changed: called whenever an entry's state has changed.
    """

    settings: Settings
    entries: list[Entry]
    folder: Path
    provider: str
    force: bool
    changed: Callable[[], None]
    restarts: int = 0
    process: Process | None = None
    busy: float = 0.0
    """Seconds the host's oldest run has taken, as it last said."""
    gpu_bytes: int | None = None
    """GPU memory the host uses, as it last said."""
    _starts: int = 0
    _loading: bool = False
    """Whether the process has yet to say that its models are there; it hears nothing before."""
    _keeper: asyncio.Task[None] | None = None
    _end: asyncio.Event = field(default_factory=asyncio.Event)
    _backoff: Backoff = field(default_factory=Backoff)

    async def start(self) -> None:
        """Start the host and wait until its models are loaded.

        Raises:
            SegxError: what is wrong with a model, or that the host ended on it.
        """
        process = await self._launch()
        try:
            await asyncio.wait_for(self._loaded(process), self.settings.load_timeout)
        except TimeoutError:
            await self._drop(process)
            raise ModelError("the model to load", f"nothing after {self.settings.load_timeout:g} s") from None
        except BaseException:
            await self._drop(process)
            raise
        self._keeper = asyncio.create_task(self._keep(process))

    async def drop(self, entry: Entry) -> None:
        """Let go of one model; the host ends with its last one."""
        self.entries.remove(entry)
        if not self.entries:
            await self.stop()
        elif self.process is not None:
            await self.process.channel.send({"type": "unload", "key": entry.key})

    async def stop(self) -> None:
        """End the host, its queued work done."""
        self._end.set()
        if self.process is not None and not self._loading:
            await self.process.end(self._patience)
        elif self.process is not None:
            self.process.kill()
        if self._keeper is not None:
            await self._keeper

    @property
    def _patience(self) -> float:
        return max(1.0, self.settings.drain_seconds) + 2

    async def _keep(self, process: Process) -> None:
        while True:
            await self._listen(process)
            how = await process.wait()
            self._path.unlink(missing_ok=True)
            self.process = None
            if self._end.is_set():
                return
            self._lost(how)
            began = process.began
            while True:
                await wait_for(self._end, self._backoff.after(time.monotonic() - began))
                if self._end.is_set():
                    return
                self.restarts += 1
                began = time.monotonic()
                try:
                    process = await self._launch()
                    if self._end.is_set():
                        # `stop` came while there was no process that it could have told.
                        await self._drop(process)
                        return
                    await asyncio.wait_for(self._loaded(process), self.settings.load_timeout)
                    break
                except (SegxError, OSError) as error:  # too long, or the system has no process to give
                    _log.error("models could not be loaded again: %s", error)
                    await self._drop(process)
                    if self._end.is_set():
                        return
                    self._lost(f"could not be loaded again: {error}")

    async def _launch(self) -> Process:
        self._starts += 1
        self._path = self.folder / f"host-{secrets.token_hex(8)}.sock"
        start = {
            "type": "start",
            "settings": self.settings.model_dump(mode="json"),
            "path": str(self._path),
            "provider": self.provider,
            "force": self.force,
            # Started again it serves what it can: one file that was spoilt meanwhile must not take the others along.
            "strict": self._starts == 1,
            "models": [
                {
                    "key": entry.key,
                    "name": entry.found.name,
                    "path": str(entry.found.path),
                    "card": str(entry.found.card) if entry.found.card else None,
                }
                for entry in self.entries
            ],
        }
        self.process = await Process.start("segx_serve.host", start)
        self._loading = True
        return self.process

    async def _loaded(self, process: Process) -> None:
        async for message in process.channel:
            match message["type"]:
                case "broken":
                    raise rebuilt(message["error"])
                case "loaded":
                    for entry in self.entries:
                        (told,) = [one for one in message["models"] if one["key"] == entry.key]
                        if "broken" in told:
                            _log.error("model '%s' could not be loaded again: %s", entry.found.name, told["broken"])
                            entry.failure, entry.state = "it could not be loaded again; the log says why", "failed"
                            continue
                        entry.about, entry.provider = told["about"], told["provider"]
                        entry.size_bytes, entry.describe = told["size_bytes"], told["describe"]
                        entry.failure = told["failure"]
                        entry.state = "failed" if entry.failure else "ready"
                        entry.host = str(self._path)
                    self._loading = False
                    process.heard, self.busy = time.monotonic(), 0.0
                    self.changed()
                    return
        how = await process.wait()
        names = ", ".join(entry.found.path.name for entry in self.entries)
        raise ModelError(f"{names} to load", f"a process that {how} while loading", "See the log above.")

    async def _listen(self, process: Process) -> None:
        """Hear the host's beats until it ends; end one that hangs."""
        ear = asyncio.create_task(self._hear(process))
        try:
            while not ear.done():
                await asyncio.wait([ear], timeout=0.5)
                silent = time.monotonic() - process.heard
                if self.busy > self.settings.run_timeout:
                    _log.error("a run has not ended within %g s: its process is ended", self.settings.run_timeout)
                    process.kill()
                    self.busy = 0.0
                elif silent > self.settings.run_timeout + 30:
                    _log.error("the process that runs models has been silent for %.0f s and is ended", silent)
                    process.kill()
                    process.heard = time.monotonic()
        finally:
            ear.cancel()

    async def _hear(self, process: Process) -> None:
        async for message in process.channel:
            process.heard = time.monotonic()
            self.busy = message.get("busy", 0.0)
            self.gpu_bytes = message.get("gpu_bytes")

    def _lost(self, how: str) -> None:
        self.gpu_bytes = None
        _log.error("the process that runs %s %s", ", ".join(entry.found.name for entry in self.entries), how)
        for entry in self.entries:
            entry.host = None
            entry.failure = f"the process that ran it {how}; it is being started again"
        self.changed()

    async def _drop(self, process: Process) -> None:
        process.kill()
        await process.wait()
        self._path.unlink(missing_ok=True)
        self.process = None


def rebuilt(told: dict[str, str]) -> SegxError:
    """An error as another process described it."""
    kind = getattr(errors, told["kind"], ModelError)
    error: SegxError = kind(told["expected"], told["got"], told["cure"])
    return error
