"""uvicorn's HTTP protocol, with the limits it lacks and a fast lane for requests that are one picture.

Limits: how long headers may take and how far they may grow, how long an answer may lie unread, how many connections
there may be. A client that sends half a header, or reads nothing, would otherwise keep its connection for ever.
Growth counts while headers are incomplete; ones that arrive whole are bounded by what the transport reads at once
(256 KiB). The fast lane itself is in fastlane.py; everything else goes through ASGI as with any server.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from segx_serve.fastlane import FastCycle, Hot

_MOST_HEADER_BYTES = 64 * 1024


def protocol(hot: Hot, timeout: float, write_timeout: float, max_connections: int) -> type[asyncio.Protocol]:
    """A protocol class for uvicorn.

    Args:
        hot: says which requests take the fast lane, and handles them.
        timeout: seconds within which headers, and then the next bytes of a body, must arrive.
        write_timeout: seconds after which an answer that its client does not take is given up, and the connection.
        max_connections: a further one is answered 503 and closed.
    """

    class Protocol(HttpToolsProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._due: asyncio.TimerHandle | None = None
            self._unread_due: asyncio.TimerHandle | None = None
            self._header_bytes = 0
            self.turned_away = -60.0
            """When it was last told that there is too much to do, time.monotonic()."""
            self._fast: FastCycle | None = None
            self._waits_since: float | None = None  # when the last answer was written, while nothing came after it
            # Requests that go through ASGI: the first is being answered, pipelined ones wait.
            self._cycles: deque[Any] = deque()

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                self._refuse(b"503 Service Unavailable\r\nretry-after: 1")
            else:
                self._due = self.loop.call_later(timeout, self._late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._in_time()
            if self.timeout_keep_alive_task is not None:
                self.timeout_keep_alive_task.cancel()
                self.timeout_keep_alive_task = None
            self.resume_writing()
            if self._fast is not None:
                self._fast.lost()
            self._give_up()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._waits_since = None
            if self._answering():
                self._header_bytes += len(data)  # of a request behind the one that is being answered
            super().data_received(data)
            if self._header_bytes > _MOST_HEADER_BYTES and self.parser is not None:
                self._give_up()
                self._refuse(b"431 Request Header Fields Too Large")
                return
            fast = self._fast
            if fast is not None:
                if not fast.complete and self._due is None:
                    self._due = self.loop.call_later(fast.patience(timeout), self._late_body)
                return
            if self.parser is None or self.transport.is_closing():
                return
            if not (self.cycle is None or self.cycle.response_complete) or self._waits_since is not None:
                return  # a request is under way, or one has just been answered and the next is waited for
            # Bytes came and no request is under way: they are part of headers.
            self._header_bytes += len(data)
            if self._header_bytes > _MOST_HEADER_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
            elif self._due is None:
                self._due = self.loop.call_later(timeout, self._late)

        def _answering(self) -> bool:
            """Whether a request is there as a whole and its answer is not: what comes now belongs to the next one."""
            if self._fast is not None:
                return self._fast.complete
            return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

        def on_headers_complete(self) -> None:
            if self._due is not None:
                self._in_time()
            self._header_bytes = 0
            # A client that does not take its answers goes through ASGI, which waits until it does.
            if (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused:
                fast = FastCycle.begin(self, hot)
                if fast is not None:
                    self._fast = self.cycle = fast  # type: ignore[assignment]
                    return
            before = self.cycle
            super().on_headers_complete()
            if self.cycle is not before:
                self._cycles.append(self.cycle)

        def on_body(self, body: bytes) -> None:
            if self._fast is not None and self._fast.current(self.cycle):
                self._fast.feed(body)
            else:
                super().on_body(body)

        def on_message_complete(self) -> None:
            if self._fast is not None and self._fast.current(self.cycle):
                if self._due is not None:
                    self._in_time()
                self._fast.end()
            else:
                super().on_message_complete()

        def on_response_complete(self) -> None:
            # As uvicorn does it, but with one timer for many answers: making and dropping one for each costs more
            # than all else that is done here.
            if self._cycles and self._cycles[0].response_complete:
                self._cycles.popleft()
            self.server_state.total_requests += 1
            if self.transport.is_closing():
                if self.transport.get_write_buffer_size() and self._unread_due is None:
                    self._see_it_read()
                return
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
                return
            self._waits_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._wait_for_more(self.timeout_keep_alive)

        def _unset_keepalive_if_required(self) -> None:
            """The timer runs on; see _perhaps_enough."""

        def _wait_for_more(self, seconds: float) -> None:
            self.timeout_keep_alive_task = self.loop.call_later(seconds, self._perhaps_enough)

        def _perhaps_enough(self) -> None:
            self.timeout_keep_alive_task = None
            if self._waits_since is None or self.transport.is_closing():
                return  # a request is under way; its answer starts the timer again
            rest = self._waits_since + self.timeout_keep_alive - self.loop.time()
            if rest > 0:
                self._wait_for_more(rest)
            else:
                self.timeout_keep_alive_handler()

        def fast_done(self) -> None:
            """The fast lane's answer has been written."""
            self._fast = None
            self.on_response_complete()

        def send_400_response(self, msg: str) -> None:
            self._give_up()
            if not self.transport.is_closing():
                super().send_400_response(msg)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._see_it_read()

        def resume_writing(self) -> None:
            if self._unread_due is not None:
                self._unread_due.cancel()
                self._unread_due = None
            super().resume_writing()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            # Closing waits for what was written; a client that reads none of it is not waited for.
            if self._unread_due is None:
                self._see_it_read()

        def _see_it_read(self) -> None:
            """Look again and again whether the client takes what was written, and give up one that takes nothing."""
            left = self.transport.get_write_buffer_size()

            def look() -> None:
                if self.transport.get_write_buffer_size() < left:
                    self._see_it_read()
                else:
                    self.transport.abort()

            self._unread_due = self.loop.call_later(write_timeout, look)

        def _give_up(self) -> None:
            """Nothing can be answered any more. uvicorn tells only the last of several pipelined requests."""
            for cycle in self._cycles:
                cycle.disconnected = True
                cycle.message_event.set()
            self._cycles.clear()

        def _in_time(self) -> None:
            if self._due is not None:
                self._due.cancel()
                self._due = None

        def _late(self) -> None:
            self._due = None
            self._refuse(b"408 Request Timeout")

        def _late_body(self) -> None:
            self._due = None
            fast = self._fast
            if fast is None or fast.complete:
                return
            seconds = fast.patience(timeout)
            if seconds > 0:
                self._due = self.loop.call_later(seconds, self._late_body)
            else:
                fast.late(timeout)

        def _refuse(self, status: bytes) -> None:
            self._give_up()
            if not self.transport.is_closing():
                self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                self.transport.close()
                if self.transport.get_write_buffer_size() and self._unread_due is None:
                    self._see_it_read()

    return Protocol
