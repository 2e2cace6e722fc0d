"""uvicorn's HTTP protocol, with the two limits it lacks: how long headers may take, and how far they may grow.

A client that sends half a header and then nothing would otherwise keep its connection for ever. Growth counts while
headers are incomplete; ones that arrive whole are bounded by what the transport reads at once (256 KiB).
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEADER_BYTES = 64 * 1024


def protocol(timeout: float) -> type[asyncio.Protocol]:
    """A protocol class whose connections must bring complete headers within `timeout` seconds."""

    class Protocol(HttpToolsProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._headers_due: asyncio.TimerHandle | None = None
            self._header_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._headers_due = self.loop.call_later(timeout, self._late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._in_time()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.transport.is_closing() or not (self.cycle is None or self.cycle.response_complete):
                return
            # Bytes came and no request is under way: they are part of headers.
            self._header_bytes += len(data)
            if self._header_bytes > _MOST_HEADER_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
            elif self._headers_due is None:
                self._headers_due = self.loop.call_later(timeout, self._late)

        def on_headers_complete(self) -> None:
            self._in_time()
            self._header_bytes = 0
            super().on_headers_complete()

        def _in_time(self) -> None:
            if self._headers_due is not None:
                self._headers_due.cancel()
                self._headers_due = None

        def _late(self) -> None:
            self._headers_due = None
            self._refuse(b"408 Request Timeout")

        def _refuse(self, status: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                self.transport.close()

    return Protocol
