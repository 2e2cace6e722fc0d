"""A front-end: the process that speaks HTTP, decodes pictures into shared memory, and encodes answers.

    python -m segx_serve.front CHANNEL LISTENER BOARD      file descriptors: its end of the supervisor's channel, its
                                                           listening socket, and what it shares with other front-ends

Hostile bytes are dealt with here and nowhere else: if a decoder crashes, only this process goes, no batch. It never
imports ONNX Runtime. It ends, with every request answered, when its supervisor does.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from segx_core.card_io import from_json
from segx_core.quiet import silence_decoders
from segx_serve import logs, models, tally
from segx_serve.admission import Board
from segx_serve.app import App
from segx_serve.channel import Channel, Message
from segx_serve.http import RefusalError
from segx_serve.listen import make_server
from segx_serve.models import Model
from segx_serve.remote import Link, RemoteLane
from segx_serve.service import Service
from segx_serve.settings import Settings
from segx_serve.tally import Snapshot

_log = logging.getLogger("segx.serve")
# How often the supervisor hears that this process is alive, and what it counted; seconds.
_BEAT = 1.0
# When a host that could not be reached is tried again, seconds.
_AGAIN = 0.5
# How long a change of models, or a question to the supervisor, may take; seconds.
_CHANGE, _QUESTION = 600.0, 2.0


class FrontService(Service):
    """A service whose models run in hosts."""

    def __init__(self, settings: Settings, channel: Channel, board: Board) -> None:
        super().__init__(settings, shared=True, board=board)
        self._channel = channel
        self._links: dict[str, Link] = {}
        self.reached = True
        """Whether every host of the present table could be connected to."""

    async def stop(self) -> None:
        """End the threads, then the links: nothing is with a host any more."""
        await super().stop()
        for link in self._links.values():
            link.close()

    async def snapshot(self) -> Snapshot:
        """What all front-ends and the supervisor counted; of the others, as they were a moment ago."""
        own = self.tally.snapshot()
        try:
            answer = await self._channel.ask({"type": "snapshot"}, _QUESTION)
        except (TimeoutError, ConnectionError):
            return own
        return tally.merge([own, *answer["others"]])

    async def load(self, name: str) -> None:
        """Load or reload a model from its file.

        Raises:
            RefusalError: it could not be; what was served before is served on.
        """
        await self._change({"type": "load", "name": name})

    async def unload(self, name: str) -> None:
        """Serve a model no longer.

        Raises:
            RefusalError: there is none of that name.
        """
        await self._change({"type": "unload", "name": name})

    async def share(self, message: dict[str, Any]) -> None:
        """Have the other front-ends do what this one just did."""
        await self._change({"type": "share", "what": message})

    def apply(self, table: Message) -> None:
        """Serve what a table of the supervisor's says."""
        links: dict[str, Link] = {}
        paths = {entry["host"] for entry in table["models"] if entry["host"] is not None}
        for path in paths:
            link = self._link(path)
            if link is not None:
                links[path] = link
        self.reached = len(links) == len(paths)
        self.unloaded = table["unloaded"]
        self.catalog.replace(_model(entry, links.get(entry["host"])) for entry in table["models"])
        self.show_models()
        for path, link in list(self._links.items()):
            if path not in links or not link.up:
                del self._links[path]
        self._links |= links

    async def settle(self, kept: dict[str, Link]) -> None:
        """Wait until no request uses what is no longer served, then close the links that nothing uses.

        Args:
            kept: the links there were before.
        """
        lanes = {id(model.lane) for model in self.catalog}
        old = self.desk.others(lanes)
        while self.desk.open(old):
            await asyncio.sleep(0.01)
        for path, link in kept.items():
            if self._links.get(path) is link:
                continue
            # What the host still holds, though nobody waits for it, lies in memory that it may yet write to.
            while link.up and link.depth:
                await asyncio.sleep(0.05)
            link.close()

    @property
    def links(self) -> dict[str, Link]:
        """Host's socket path -> the link to it."""
        return dict(self._links)

    def _link(self, path: str) -> Link | None:
        known = self._links.get(path)
        if known is not None and known.up:
            return known
        assert self.rooms is not None
        link: Link | None = None
        try:
            link = Link(self.pipeline, self.arena, self.rooms)
            link.open(Path(path))
        except OSError as error:
            _log.warning("the process that runs models cannot be reached: %s", error)
            if link is not None:
                link.close()
            return None
        return link

    async def _change(self, question: Message) -> None:
        try:
            answer = await self._channel.ask(question, _CHANGE)
        except TimeoutError:
            raise RefusalError(503, "busy", "The change takes too long; see GET /v2 and the log.") from None
        except ConnectionError:
            raise RefusalError(503, "stopping", "The service is stopping.") from None
        if answer["error"]:
            raise RefusalError(answer["status"], answer["code"], answer["error"])


def _model(entry: dict[str, Any], link: Link | None) -> Model:
    lane = RemoteLane(link, entry["key"], entry["failure"])
    card = from_json(entry["about"], entry["name"]) if entry["about"] else None
    return models.describe(
        entry["name"], entry["version"], card, entry["provider"], entry["size_bytes"], lane, entry["state"]
    )


class Front:
    """All of one front-end process."""

    def __init__(self, channel: Channel, settings: Settings, board: Board) -> None:
        self._channel = channel
        self._service = FrontService(settings, channel, board)
        self._app = App(self._service)
        self._server = make_server(self._app, settings)
        self._settling: set[asyncio.Task[None]] = set()
        self._latest = -1

    async def run(self, listener: socket.socket) -> None:
        """Serve until the supervisor says to end or is gone."""
        serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        listening = asyncio.create_task(self._listen())
        beating = asyncio.create_task(self._beat())
        gc.collect()
        # What is there now stays: the collector need not look at it again and again while requests come and go.
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            # Deaf to the supervisor it must not go on; with an error it is started again.
            self._server.should_exit = True
        await serving
        beating.cancel()
        if listening.done():
            listening.result()
        listening.cancel()

    async def _listen(self) -> None:
        async for message in self._channel:
            match message["type"]:
                case "table":
                    await self._apply(message)
                case "share":
                    self._app.replay(message["what"])
                case "stop":
                    break
        # Said to end, or the supervisor is gone: no new connections, and an end to what is under way.
        self._server.should_exit = True
        async for _ in self._channel:  # answers to open questions are still wanted
            pass

    async def _apply(self, table: Message) -> None:
        self._latest = table["serial"]
        links = self._service.links
        self._service.apply(table)
        await self._channel.send({"type": "switched", "serial": table["serial"]})
        self._spawn(self._settle(links, table["serial"]))
        if not self._service.reached:
            self._spawn(self._again(table))

    async def _again(self, table: Message) -> None:
        """Try a host once more that could not be reached, unless there is other news by then."""
        await asyncio.sleep(_AGAIN)
        if self._latest == table["serial"]:
            await self._apply(table)

    async def _settle(self, links: dict[str, Link], serial: int) -> None:
        await self._service.settle(links)
        await self._channel.send({"type": "quiet", "serial": serial})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _beat(self) -> None:
        while True:
            await self._channel.send({"type": "beat", "snapshot": self._service.tally.snapshot()})
            await asyncio.sleep(_BEAT)


async def _main(channel_fd: int, listener_fd: int, board_fd: int) -> None:
    channel = await Channel.over(socket.socket(fileno=channel_fd))
    start = await channel.first()
    settings = Settings(**start["settings"])
    log = logs.configure(settings.log_format, "info", "front")
    silence_decoders()
    try:
        front = Front(channel, settings, Board(board_fd, start["fronts"], start["number"]))
        listener = socket.socket(fileno=listener_fd)
        listener.setblocking(False)
        await front.run(listener)
        await channel.end()
    finally:
        log.close()


def main() -> None:
    """Run one front-end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_main(*map(int, sys.argv[1:4])))


if __name__ == "__main__":
    main()
