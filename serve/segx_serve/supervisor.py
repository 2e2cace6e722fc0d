"""The supervisor: starts front-ends and hosts, starts again what ends unasked, and changes models while all serve.

It holds no session, decodes nothing and speaks no HTTP, so that nothing that a client or a model does can reach it.
Models are loaded in a new host beside the old one; front-ends switch at once when it is warm, and the old one goes when
its last request is answered. If anything fails on the way, the old one stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from segx_core.errors import ModelError, SegxError
from segx_serve import tally
from segx_serve.admission import Board
from segx_serve.arena import anonymous_file
from segx_serve.channel import Message
from segx_serve.hosts import Entry, HostGroup
from segx_serve.process import Backoff, Process, wait_for
from segx_serve.repository import Found, Key, Repository, changes
from segx_serve.settings import Settings
from segx_serve.surroundings import end_signals, socket_folder
from segx_serve.tally import Snapshot, Tally

_log = logging.getLogger("segx.serve")
# A front-end that has not said anything for so long hangs; seconds.
_SILENT = 30.0
# How long front-ends may take to switch to another host; seconds.
_SWITCH = 10.0


class FrontSlot:
    """One front-end's place: its listening socket outlives it, so that connections wait for the next one."""

    def __init__(self, number: int, listener: socket.socket) -> None:
        self.number = number
        self.listener = listener
        self.process: Process | None = None
        self.restarts = 0
        self.snapshot: Snapshot | None = None
        """What the present process has counted, as it last said."""
        self.switched = -1
        self.quiet = -1


class Supervisor:
    """One service."""

    def __init__(
        self, settings: Settings, repository: Repository, provider: str, force: bool, listeners: Sequence[socket.socket]
    ) -> None:
        self._settings = settings
        self._repository = repository
        self._provider = provider
        self._force = force
        self._board_fd = anonymous_file(4 * len(listeners))
        self._board = Board(self._board_fd, len(listeners), 0)
        self._slots = [FrontSlot(number, listener) for number, listener in enumerate(listeners)]
        self._entries: list[tuple[Entry, HostGroup]] = []
        self._unloaded: dict[str, str] = {}  # name -> why it is not served
        self._keys = itertools.count()
        self._serial = 0
        self._shared: list[Message] = []  # what front-ends did that every other one must do too, in order
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._ending = asyncio.Event()
        self._past = Tally().snapshot()  # what front-ends that are gone had counted
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, announce: Callable[[list[str]], None]) -> None:
        """Serve until SIGINT or SIGTERM, or the terminal's end.

        Args:
            announce: called with a line for each model once all are loaded.

        Raises:
            SegxError: a model cannot be loaded at the start, or there is no place for sockets.
        """
        loop = asyncio.get_running_loop()
        for number in end_signals():
            loop.add_signal_handler(number, self._ending.set)
        with socket_folder() as folder:
            self._folder = folder
            fronts = [asyncio.create_task(self._keep_front(slot)) for slot in self._slots]
            self._spawn(self._publish())
            try:
                found = self._repository.scan()
                starting = asyncio.create_task(self._begin(list(found.values())))
                await self._first(starting, asyncio.create_task(self._ending.wait()))
                if not self._ending.is_set():
                    # Front-ends then have the table with all that is ready, and no first request is sent away.
                    self._changed.set()
                    await self._agreed("switched", self._serial + 1, _SWITCH)
                    announce([entry.describe for entry, _ in self._entries])
                    if self._repository.folders:
                        self._spawn(self._follow(found))
                    await self._ending.wait()
            finally:
                self._ending.set()
                await self._end(fronts)

    @staticmethod
    async def _first(work: asyncio.Task[None], end: asyncio.Task[bool]) -> None:
        await asyncio.wait([work, end], return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        if work.done():
            work.result()
        else:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _begin(self, found: list[Found]) -> None:
        """Load everything there is, in one host."""
        if not found:
            return
        group = self._group(found)
        self._entries = [(entry, group) for entry in group.entries]
        self._changed.set()
        await group.start()

    async def _end(self, fronts: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(
            *(slot.process.end(self._settings.drain_seconds + 10) for slot in self._slots if slot.process)
        )
        await asyncio.gather(*fronts)
        for task in self._tasks:
            task.cancel()
        groups = {id(group): group for _, group in self._entries}
        await asyncio.gather(*(group.stop() for group in groups.values()))

    def _group(self, found: list[Found]) -> HostGroup:
        entries = [Entry(one, next(self._keys)) for one in found]
        return HostGroup(self._settings, entries, self._folder, self._provider, self._force, self._changed.set)

    # ---- front-ends

    async def _keep_front(self, slot: FrontSlot) -> None:
        backoff = Backoff()
        while not self._ending.is_set():
            start = {
                "type": "start",
                "settings": self._settings.model_dump(mode="json"),
                "number": slot.number,
                "fronts": len(self._slots),
            }
            inherited = [slot.listener.fileno(), self._board_fd]
            try:
                process = slot.process = await Process.start("segx_serve.front", start, inherited)
            except OSError as error:
                _log.error("a front-end could not be started: %s", error)
                await wait_for(self._ending, backoff.after(0))
                continue
            if self._ending.is_set():
                # The end came while there was no process that it could have been told to.
                process.kill()
            await process.channel.send(self._table())
            for shared in self._shared:
                await process.channel.send(shared)
            guard = asyncio.create_task(self._guard(process))
            async for message in process.channel:
                process.heard = time.monotonic()
                self._hear(slot, process, message)
            guard.cancel()
            how = await process.wait()
            slot.process = None
            self._board.clear(slot.number)
            if slot.snapshot is not None:
                # Its counts would otherwise be missing from the sums, which must never fall.
                self._past = tally.merge([self._past, {**slot.snapshot, "gauges": []}])
                slot.snapshot = None
            if self._ending.is_set():
                return
            slot.restarts += 1
            _log.error("a front-end %s and is started again", how)
            await wait_for(self._ending, backoff.after(time.monotonic() - process.began))

    def _hear(self, slot: FrontSlot, process: Process, message: Message) -> None:
        match message["type"]:
            case "beat":
                slot.snapshot = message["snapshot"]
            case "switched":
                slot.switched = message["serial"]
            case "quiet":
                slot.quiet = max(slot.quiet, message["serial"])
            case "snapshot":
                others = [one.snapshot for one in self._slots if one is not slot and one.snapshot is not None]
                answer = {"others": [*others, self._past, self._own()]}
                self._spawn(process.channel.answer(message, answer))
            case "load" | "unload":
                self._spawn(self._change(process, message))
            case "share":
                self._spawn(self._share(process, message))

    async def _share(self, process: Process, message: Message) -> None:
        """Have every other front-end, later ones too, do what one did."""
        shared = {"type": "share", "what": message["what"]}
        if message["what"]["path"].endswith("/register"):
            self._shared.append(shared)
        else:
            # What is gone need not be told to later ones: all regions, or the one that is named.
            region = message["what"]["path"].rpartition("/")[0]
            self._shared = [one for one in self._shared if not one["what"]["path"].startswith(f"{region}/")]
        for slot in self._slots:
            if slot.process is not None and slot.process is not process:
                await slot.process.channel.send(shared)
        await process.channel.answer(message, {"error": ""})

    async def _guard(self, process: Process) -> None:
        """End a front-end whose event loop hangs."""
        while True:
            await asyncio.sleep(1)
            if time.monotonic() - process.heard > _SILENT:
                _log.error("a front-end has been silent for %g s and is ended", _SILENT)
                process.kill()
                return

    def _table(self) -> Message:
        models = [entry.told() for entry, _ in self._entries]
        return {"type": "table", "serial": self._serial, "models": models, "unloaded": self._unloaded}

    async def _publish(self) -> None:
        """Tell every front-end of every change."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._serial += 1
            table = self._table()
            for slot in self._slots:
                if slot.process is not None:
                    await slot.process.channel.send(table)

    async def _agreed(self, what: str, serial: int, seconds: float) -> None:
        """Wait until every front-end that is there has said that it is so far."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            if all(getattr(slot, what) >= serial for slot in self._slots if slot.process is not None):
                return
            await asyncio.sleep(0.01)

    def _own(self) -> Snapshot:
        """What the supervisor itself knows."""
        own = Tally()
        groups = {id(group): group for _, group in self._entries}.values()
        roles = {
            "front": [(slot.process, slot.restarts) for slot in self._slots],
            "host": [(group.process, group.restarts) for group in groups],
        }
        for role, children in roles.items():
            usage = [process.usage() for process, _ in children if process is not None]
            own.gauge("segx_process_restarts", {"role": role}, lambda c=children: sum(one[1] for one in c))  # type: ignore[misc]
            own.gauge("segx_processes", {"role": role}, lambda u=usage: len(u))  # type: ignore[misc]
            own.gauge("segx_process_resident_bytes", {"role": role}, lambda u=usage: sum(one[0] for one in u))  # type: ignore[misc]
            own.gauge("segx_process_cpu_seconds", {"role": role}, lambda u=usage: sum(one[1] for one in u))  # type: ignore[misc]
        on_gpu = [group.gpu_bytes for group in groups if group.gpu_bytes is not None]
        if on_gpu:
            own.gauge("segx_gpu_memory_bytes", {}, lambda: sum(on_gpu))
        return own.snapshot()

    # ---- changes of models

    async def _change(self, process: Process, message: Message) -> None:
        try:
            async with self._changing:
                if message["type"] == "load":
                    await self._load(message["name"])
                else:
                    await self._unload(message["name"], "unloaded")
        except KeyError:
            text = f"There is no model '{message['name'][:100]}' among the files being served."
            await process.channel.answer(message, {"error": text, "status": 404, "code": "unknown_model"})
        except SegxError as error:
            await process.channel.answer(message, {"error": str(error), "status": 400, "code": "model_broken"})
        except OSError as error:
            text = f"No process could be started to load it: {error.strerror}."
            await process.channel.answer(message, {"error": text, "status": 503, "code": "no_process"})
        else:
            await process.channel.answer(message, {"error": ""})

    async def _load(self, name: str) -> None:
        """Load all versions of a model as they lie on disk now, beside those that serve, and switch.

        Raises:
            KeyError: there are none.
            SegxError: one cannot be loaded; what was served is served on.
        """
        found = [one for one in self._repository.scan().values() if one.name == name]
        if not found:
            raise KeyError(name)
        group = self._group(found)
        await group.start()
        failed = [entry for entry in group.entries if entry.failure]
        if failed:
            await group.stop()
            raise ModelError("a model that runs", f"{failed[0].found.path.name}: {failed[0].failure}")
        old = [pair for pair in self._entries if pair[0].found.name == name]
        self._entries = [pair for pair in self._entries if pair[0].found.name != name]
        self._entries += [(entry, group) for entry in group.entries]
        self._unloaded.pop(name, None)
        await self._switch(old)
        _log.info("loaded %s", ", ".join(entry.describe for entry in group.entries))

    async def _unload(self, name: str, why: str) -> None:
        old = [pair for pair in self._entries if pair[0].found.name == name]
        if not old:
            raise KeyError(name)
        self._entries = [pair for pair in self._entries if pair[0].found.name != name]
        self._unloaded[name] = why
        await self._switch(old)
        _log.info("unloaded %s", name)

    async def _switch(self, old: list[tuple[Entry, HostGroup]]) -> None:
        """Have all front-ends use the present table; what they no longer use ends behind their backs."""
        serial = self._serial + 1
        self._changed.set()
        await self._agreed("switched", serial, _SWITCH)
        self._spawn(self._retire(old, serial))

    async def _retire(self, old: list[tuple[Entry, HostGroup]], serial: int) -> None:
        await self._agreed("quiet", serial, self._settings.drain_seconds + self._settings.deadline_ms / 1000)
        for entry, group in old:
            await group.drop(entry)

    async def _follow(self, known: dict[Key, Found]) -> None:
        """Follow the folders: load what appears or changes, unload what goes."""
        async for name, there in changes(self._repository, known):
            async with self._changing:
                try:
                    await (self._load(name) if there else self._unload(name, "its file is gone"))
                except (SegxError, OSError) as error:
                    _log.error("model '%s' changed on disk and is not taken: %s", name, error)
                except KeyError:
                    continue  # it went, or was unloaded, meanwhile

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
