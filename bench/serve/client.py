"""A load client that keeps status and latency of every single request. wrk mixes refusals into its percentiles.

HTTP/1.1 by hand on asyncio: keep-alive, Content-Length or chunked answers, nothing else. It knows no server.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

TIMEOUT = 30.0
HUNG, BROKEN = -1, 0
"""Statuses of requests that got no answer: none in time, or the connection broke."""


@dataclass(frozen=True)
class Record:
    """One request."""

    status: int
    began: float
    """time.perf_counter() when it was sent."""
    seconds: float
    retry_after: bool = False


@dataclass
class Records:
    """All requests of one load."""

    all: list[Record] = field(default_factory=list)

    def statuses(self) -> dict[str, int]:
        """How many requests ended how."""
        names = {HUNG: "hung", BROKEN: "broken"}
        counts = Counter(names.get(one.status, str(one.status)) for one in self.all)
        return dict(sorted(counts.items()))

    def latency_ms(self, percentile: float) -> float | None:
        """Of the accepted requests alone."""
        seconds = [one.seconds for one in self.all if one.status == 200]
        return round(float(np.percentile(seconds, percentile)) * 1e3, 1) if seconds else None

    def with_status(self, status: int) -> list[Record]:
        """Those that ended so."""
        return [one for one in self.all if one.status == status]


def wire_format(path: str, body: bytes, headers: dict[str, str], method: str = "POST") -> bytes:
    """A request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def load(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, pause: float = 0.0, timeout: float = TIMEOUT
) -> Records:
    """Closed-loop load: every connection sends, waits for the answer, and sends again.

    Args:
        requests: whole requests, taken in turns.
        pause: seconds that a client waits after a 503; 0 asks again at once.
        timeout: a request without an answer after so many seconds is hung.
    """
    return asyncio.run(_load(port, requests, connections, seconds, pause, timeout))


async def _load(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, pause: float, timeout: float
) -> Records:
    records = Records()
    until = time.perf_counter() + seconds
    clients = (_client(port, requests, index, until, pause, timeout, records) for index in range(connections))
    await asyncio.gather(*clients)
    return records


async def _client(
    port: int, requests: Sequence[bytes], turn: int, until: float, pause: float, timeout: float, records: Records
) -> None:
    connection: Connection | None = None
    while time.perf_counter() < until:
        began = time.perf_counter()
        status, retry = BROKEN, False
        try:
            connection = connection or await Connection.open(port, timeout)
            status, retry, keeps = await connection.ask(requests[turn % len(requests)], timeout)
        except TimeoutError:
            status, keeps = HUNG, False
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            keeps = False
        records.all.append(Record(status, began, time.perf_counter() - began, retry))
        turn += 1
        if not keeps and connection is not None:
            connection.close()
            connection = None
        if status == 503 and pause:
            await asyncio.sleep(pause)
        elif status == BROKEN:
            await asyncio.sleep(0.05)  # a port nobody listens on would be asked thousands of times a second
    if connection is not None:
        connection.close()


@dataclass
class Connection:
    """One keep-alive connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int, timeout: float) -> Connection:
        """Connect to loopback."""
        opened = asyncio.open_connection("127.0.0.1", port, limit=2**24)
        return cls(*await asyncio.wait_for(opened, timeout))

    async def ask(self, request: bytes, timeout: float) -> tuple[int, bool, bool]:
        """(status, whether Retry-After stands in the answer, whether the connection can be used again)."""
        return await asyncio.wait_for(self._ask(request), timeout)

    async def _ask(self, request: bytes) -> tuple[int, bool, bool]:
        self.writer.write(request)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        if b"transfer-encoding: chunked" in head:
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                await self.reader.readexactly(size + 2)
            await self.reader.readexactly(2)
        elif b"\r\ncontent-length:" in head:  # inference-header-content-length is another one
            length = int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
            await self.reader.readexactly(length)
        return status, b"\r\nretry-after:" in head, b"\r\nconnection: close" not in head

    def close(self) -> None:
        """Drop it."""
        self.writer.close()
