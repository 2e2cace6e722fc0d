"""A host: the process that owns the models' sessions and the device, and runs what front-ends hand it.

    python -m segx_serve.host FD      FD: its end of the supervisor's channel

It maps the memory of every front-end that connects, so that pictures reach ONNX Runtime without being copied, and
ends when the supervisor does. It knows nothing of HTTP, of files' bytes or of codecs: whatever hostile clients send is
decoded in front-ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from segx_core.card_io import to_json
from segx_core.errors import SegxError
from segx_core.runner import UInt8
from segx_serve import logs, wire
from segx_serve.arena import adjacent, attach
from segx_serve.channel import Channel
from segx_serve.engine import Engine
from segx_serve.gpu_memory import GpuMemory
from segx_serve.job import ExpiredError, GoneError, LostError, Wait, Work
from segx_serve.loading import load
from segx_serve.models import engine_for
from segx_serve.settings import Settings, on_gpu
from segx_serve.wire import Asked, Told

_log = logging.getLogger("segx.serve")
# How often the supervisor hears how long the oldest run has taken, seconds.
_BEAT = 0.5


class HostWork(Work):
    """One picture of some front-end."""

    __slots__ = ("guest", "number", "room")

    def __init__(self, guest: Guest, asked: Asked, now: float) -> None:
        super().__init__(Wait(asked.deadline or None), now)
        self.guest = guest
        self.number = asked.number
        self.room = asked.room
        self.picture = guest.picture(asked)
        self.offset = asked.place


class Guest:
    """One front-end: its memory, and the socket to it. Read in a thread of its own, written by engine threads."""

    def __init__(self, connection: socket.socket, engines: dict[int, Engine[HostWork]]) -> None:
        self._connection = connection
        self._engines = engines
        memory = wire.welcome(connection)
        self._arena = attach(memory.arena, memory.arena_size)
        self._rooms = attach(memory.rooms, memory.rooms_size)
        self._lock = threading.Lock()
        self._held: dict[int, HostWork] = {}

    def picture(self, asked: Asked) -> UInt8:
        """(H, W, 3) uint8, the front-end's own memory."""
        size = 3 * asked.height * asked.width
        return self._arena[asked.place : asked.place + size].reshape(asked.height, asked.width, 3)

    def together(self, works: list[HostWork]) -> UInt8 | None:
        """(N, H, W, 3) view over the pictures of a batch of this front-end's; None where they lie apart."""
        return adjacent(self._arena, works)

    def serve(self) -> None:
        """Take pictures until the front-end goes."""
        records = wire.Records(Asked)
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._take([asked for asked in records.read(self._connection) if isinstance(asked, Asked)])
        for work in list(self._held.values()):
            work.wait.gone = True
        self._connection.close()

    def tell(self, works: list[HostWork]) -> None:
        """Write class maps where they belong and say so; one write for all."""
        told = b"".join(self._told(work) for work in works)
        with self._lock, contextlib.suppress(OSError):  # a front-end that is gone needs no answer
            self._connection.sendall(told)

    def _take(self, asked: list[Asked]) -> None:
        now = time.perf_counter()
        groups: dict[tuple[int, int, int], list[HostWork]] = {}
        for one in asked:
            if one.what == wire.GONE:
                gone = self._held.get(one.number)
                if gone is not None:
                    gone.wait.gone = True
                continue
            work = HostWork(self, one, now)
            self._held[one.number] = work
            groups.setdefault((one.model, one.height, one.width), []).append(work)
        for (model, _, _), works in groups.items():
            engine = self._engines.get(model)
            if engine is not None:
                if not engine.run_here(works):
                    engine.put_all(works)
            else:
                # Unloaded while a front-end did not know it yet.
                for work in works:
                    work.error = LostError()
                self.tell(works)

    def _told(self, work: HostWork) -> bytes:
        self._held.pop(work.number, None)
        how = wire.FAILED
        match work.error:
            case None:
                how = self._write(work)
            case ExpiredError():
                how = wire.EXPIRED
            case GoneError():
                how = wire.LEFT
            case MemoryError():
                how = wire.MEMORY
            case LostError():
                how = wire.UNKNOWN
        timing = work.timing
        return wire.pack_told(Told(work.number, how, work.first, work.batch, timing.queue, timing.run))

    def _write(self, work: HostWork) -> int:
        classmap = work.classmap
        assert classmap is not None
        room = self._rooms[work.room : work.room + classmap.nbytes].view(classmap.dtype)
        np.copyto(room.reshape(classmap.shape), classmap)
        return wire.FINE_WIDE if classmap.dtype == np.uint16 else wire.FINE


class Host:
    """All of one host process."""

    def __init__(self, settings: Settings, channel: Channel, path: Path) -> None:
        self._settings = settings
        self._channel = channel
        self._path = path
        self._engines: dict[int, Engine[HostWork]] = {}
        self._on_gpu = False

    async def run(self, models: list[dict[str, Any]], provider: str, force: bool, strict: bool) -> None:
        """Load the models, say so, and work until the supervisor says to end or is gone.

        Args:
            strict: whether one broken model is the end of all; else only the others are served.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        listener.listen(64)
        threading.Thread(target=self._accept, args=(listener,), name="segx-accept", daemon=True).start()
        loaded: list[dict[str, Any]] = []
        for model in models:
            try:
                loaded.append(await self._load(model, provider, force))
            except SegxError as error:
                good = any("broken" not in one for one in loaded)
                if strict or (model is models[-1] and not good):
                    await self._channel.send({"type": "broken", "model": model, "error": describe(error)})
                    return
                loaded.append({**model, "broken": str(error)})
        await self._channel.send({"type": "loaded", "models": loaded})
        beat = asyncio.create_task(self._beat())
        async for message in self._channel:
            match message["type"]:
                case "unload":
                    await asyncio.to_thread(self._unload, message["key"])
                case "stop":
                    break
        beat.cancel()
        for key in list(self._engines):
            await asyncio.to_thread(self._unload, key)

    async def _load(self, model: dict[str, Any], provider: str, force: bool) -> dict[str, Any]:
        card = Path(model["card"]) if model["card"] else None
        # In a thread, though ONNX Runtime keeps the interpreter to itself meanwhile: nobody else lives here yet.
        predictor = await asyncio.to_thread(load, Path(model["path"]), self._settings, provider, card, force)
        engine: Engine[HostWork] = engine_for(model["name"], predictor, self._settings, _finished, _together)
        self._engines[model["key"]] = engine
        self._on_gpu |= on_gpu(predictor.provider)
        engine.start()
        while not engine.warmed.wait(0) and not engine.failure:
            await asyncio.sleep(0.005)
        return {
            **model,
            "about": to_json(predictor.card),
            "provider": predictor.provider,
            "size_bytes": predictor.size_bytes,
            "describe": predictor.describe(),
            "failure": engine.failure,
        }

    def _unload(self, key: int) -> None:
        engine = self._engines.pop(key, None)
        if engine is not None:
            engine.stop(max(1.0, self._settings.drain_seconds))

    async def _beat(self) -> None:
        memory = GpuMemory() if self._on_gpu else None
        while True:
            busy = max((engine.busy() for engine in self._engines.values()), default=0.0)
            await self._channel.send({"type": "beat", "busy": busy, "gpu_bytes": memory.used() if memory else None})
            await asyncio.sleep(_BEAT)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                # Out of file descriptors, perhaps: front-ends try again, and so does this.
                _log.exception("a front-end could not be let in")
                time.sleep(0.1)
                continue
            try:
                guest = Guest(connection, self._engines)
            except (OSError, ValueError):
                _log.warning("a front-end could not be understood")
                connection.close()
                continue
            threading.Thread(target=guest.serve, name="segx-guest", daemon=True).start()


def _finished(works: list[HostWork]) -> None:
    """Tell each front-end of its own pictures of one batch."""
    first = works[0].guest
    if all(work.guest is first for work in works):
        first.tell(works)
        return
    for guest in {id(work.guest): work.guest for work in works}.values():
        guest.tell([work for work in works if work.guest is guest])


def _together(works: list[HostWork]) -> UInt8 | None:
    """A view over a batch whose pictures all came from one front-end and lie one after the other."""
    first = works[0].guest
    return first.together(works) if all(work.guest is first for work in works) else None


def describe(error: SegxError) -> dict[str, str]:
    """An error for the way to another process."""
    return {"kind": type(error).__name__, "expected": error.expected, "got": error.got, "cure": error.cure}


async def _main(fd: int) -> None:
    channel = await Channel.over(socket.socket(fileno=fd))
    start = await channel.first()
    settings = Settings(**start["settings"])
    log = logs.configure(settings.log_format, "info", "host")
    try:
        host = Host(settings, channel, Path(start["path"]))
        await host.run(start["models"], start["provider"], start["force"], start["strict"])
    finally:
        log.close()


def main() -> None:
    """Run one host."""
    # Ctrl-C reaches the whole group; the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_main(int(sys.argv[1])))
    # Threads in a hung run would hold the interpreter's own end up.
    os._exit(0)


if __name__ == "__main__":
    main()
