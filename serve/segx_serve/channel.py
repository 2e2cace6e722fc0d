"""What the supervisor and its processes say to each other: one JSON object a line over a socket pair.

A question carries a number and its answer the same one; everything else is news. Knows nothing of what is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator
from typing import Any, Self

Message = dict[str, Any]
# Longest line: a table of many models with their cards. Bytes.
_MOST = 64 * 2**20


class Channel:
    """One end. Iterate over it for what the other side says unasked; the end of iteration is the other side's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Message]] = {}
        self.closed = False

    @classmethod
    async def over(cls, connection: socket.socket) -> Self:
        """A channel over a connected socket, which belongs to it from now on."""
        reader, writer = await asyncio.open_connection(sock=connection, limit=_MOST)
        return cls(reader, writer)

    async def send(self, message: Message) -> None:
        """Say something. Harmless once the other side is gone."""
        if self.closed or self._writer.is_closing():
            return
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        try:
            await self._writer.drain()
        except ConnectionError:
            self.closed = True

    async def ask(self, message: Message, timeout: float) -> Message:
        """Ask something, and wait for the answer. Somebody must be iterating meanwhile.

        Raises:
            TimeoutError: no answer in time.
            ConnectionError: the other side ended first.
        """
        number = next(self._numbers)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        try:
            await self.send({**message, "ask": number})
            if self.closed:
                raise ConnectionError("the other side has ended")
            return await asyncio.wait_for(answer, timeout)
        finally:
            del self._open[number]

    async def answer(self, question: Message, answer: Message) -> None:
        """Answer what `ask` asked."""
        await self.send({**answer, "type": "answer", "to": question["ask"]})

    async def first(self) -> Message:
        """The first thing said.

        Raises:
            ConnectionError: the other side ended without a word.
        """
        async for message in self:
            return message
        raise ConnectionError("the other side ended without a word")

    async def __aiter__(self) -> AsyncIterator[Message]:
        """What the other side says unasked, until its end."""
        while True:
            try:
                line = await self._reader.readline()
            except ConnectionError:
                line = b""
            if not line.endswith(b"\n"):
                break
            message: Message = json.loads(line)
            if message["type"] == "answer":
                waiting = self._open.get(message["to"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            else:
                yield message
        self.closed = True
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the other side has ended"))

    def close(self) -> None:
        """End it from this side."""
        self.closed = True
        self._writer.close()

    async def end(self) -> None:
        """As `close`, and wait until what was said is out and the socket is closed."""
        self.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
