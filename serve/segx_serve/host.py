"""A host: the process that owns the models' sessions and the device, and runs what front-ends hand it.

    python -m segx_serve.host FD      FD: its end of the supervisor's channel

It maps the memory of every front-end that connects, so that pictures reach ONNX Runtime without being copied, and
ends when the supervisor does. It knows nothing of HTTP, of files' bytes or of codecs: whatever hostile clients send is
decoded in front-ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from segx_core.card_io import to_json
from segx_core.errors import SegxError
from segx_serve import logs
from segx_serve.channel import Channel
from segx_serve.engine import Engine
from segx_serve.gpu_memory import GpuMemory
from segx_serve.guests import Guests, GuestWork, finished, together
from segx_serve.loading import load
from segx_serve.models import engine_for
from segx_serve.settings import Settings, on_gpu

_log = logging.getLogger("segx.serve")
# How often the supervisor hears how long the oldest run has taken, seconds.
_BEAT = 0.5


class Host:
    """All of one host process."""

    def __init__(self, settings: Settings, channel: Channel, path: Path) -> None:
        self._settings = settings
        self._channel = channel
        self._path = path
        self._engines: dict[int, Engine[GuestWork]] = {}
        self._on_gpu = False

    async def run(self, models: list[dict[str, Any]], provider: str, force: bool, strict: bool) -> None:
        """Load the models, say so, and work until the supervisor says to end or is gone.

        Args:
            strict: whether one broken model is the end of all; else only the others are served.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        listener.listen(64)
        guests = Guests(listener, self._engines)
        threading.Thread(target=guests.serve, name="segx-guests", daemon=True).start()
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
        engine: Engine[GuestWork] = engine_for(model["name"], predictor, self._settings, finished, together)
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
            busy = max((engine.busy() for engine in list(self._engines.values())), default=0.0)
            await self._channel.send({"type": "beat", "busy": busy, "gpu_bytes": memory.used() if memory else None})
            await asyncio.sleep(_BEAT)


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
        await channel.end()
    finally:
        log.close()


def main() -> None:
    """Run one host."""
    # Ctrl-C reaches the whole group; the supervisor decides what it means.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(_main(int(sys.argv[1])))
    # Threads in a hung run would hold the interpreter's own end up.
    os._exit(0)


if __name__ == "__main__":
    main()
