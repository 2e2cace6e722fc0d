"""The fast lane: one request whose body is a picture, from the parser's callbacks straight to a call and back.

ASGI costs a task, two coroutines and a handful of dictionaries a request, as much as a small model's whole run. A
request that needs none of it (known length, nothing special asked for, a connection with nothing else under way) is
gathered here and answered by the very functions that the ASGI route uses. Whatever is unusual goes through ASGI.
It knows uvicorn's protocol only through what it is handed, and nothing of pictures.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from segx_serve.admission import FullError, Ticket
from segx_serve.body import SLOWEST
from segx_serve.http import RefusalError, Reply, Request
from segx_serve.job import Call

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds that a connection which was told to come back later, and did not wait, waits for its next answer.
_PENALTY = 1.0
_log = logging.getLogger("segx.serve")
_HEADERS_OF_OTHERS = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class Route(Protocol):
    """A route that can answer on the fast lane."""

    def start(self, body: bytes, ticket: Ticket, answer: Callable[[Reply | None], None]) -> Call:
        """Begin; `answer` is called once on the event loop, with None where nobody is left to be answered.

        Raises:
            RefusalError: the request cannot be answered otherwise.
        """
        ...


class Hot(Protocol):
    """What the application tells the fast lane."""

    def fast(self, request: Request) -> Route | None:
        """What answers this request, None where it must go through ASGI; judged by headers alone."""
        ...

    def new_id(self) -> str:
        """A request id."""
        ...

    def open_ticket(self) -> Ticket:
        """A ticket for one request."""
        ...

    @property
    def full(self) -> bool:
        """Whether there is no place for a further request."""
        ...

    def too_much(self, full: FullError) -> RefusalError:
        """What a request is answered with that there is no room for."""
        ...

    def left(self, request: Request, reply: Reply) -> bytes:
        """Count and tell of an answer; returns the headers that every answer has, as they go over the wire."""
        ...

    def hung_up(self, request: Request) -> None:
        """Count a request whose client hung up."""
        ...

    @property
    def max_body(self) -> int:
        """Largest body, bytes."""
        ...


class FastCycle:
    """One request and its answer; takes the place of uvicorn's RequestResponseCycle on its connection."""

    __slots__ = (
        "_arrived", "_body", "_call", "_heard", "_hot", "_protocol", "_refusal", "_request", "_route", "_since",
        "_ticket", "complete", "disconnected", "keep_alive", "message_event", "response_complete",
    )  # fmt: skip

    def __init__(self, protocol: Any, hot: Hot, request: Request, route: Route, keep_alive: bool) -> None:
        self._protocol = protocol
        self._hot = hot
        self._request = request
        self._route = route
        self._ticket = hot.open_ticket()
        self._body: list[bytes] = []
        self._arrived = 0
        self._since = self._heard = time.monotonic()
        self._refusal: RefusalError | None = None
        self._call: Call | None = None
        self.complete = False
        """Whether the whole body is there."""
        # From here on, what uvicorn's protocol looks at:
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self.message_event = _NOBODY

    @classmethod
    def begin(cls, protocol: Any, hot: Hot) -> FastCycle | None:
        """A cycle for the request whose headers are complete, or None where it must go through ASGI."""
        if protocol.parser.get_method() != b"POST":
            return None
        scope = protocol.scope
        path, _, query = protocol.url.partition(b"?")
        if b"%" in path or not path.startswith(b"/") or b"#" in query:
            return None
        scope["method"] = "POST"
        scope["path"] = path.decode("ascii", "replace")
        scope["query_string"] = query
        request = Request(scope, _nothing, hot.new_id)
        headers = request.headers
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or int(length) > hot.max_body or not _HEADERS_OF_OTHERS.isdisjoint(headers):
            return None
        try:
            route = hot.fast(request)
        except RefusalError:
            return None  # ASGI finds the same fault, and deals with the body that is still to come
        if route is None:
            return None
        parser = protocol.parser
        keep_alive = parser.get_http_version() == "1.1" and parser.should_keep_alive()
        cycle = cls(protocol, hot, request, route, keep_alive)
        if hot.full:
            cycle._refuse(hot.too_much(FullError("requests")))
        return cycle

    def current(self, cycle: object) -> bool:
        """Whether this is the request that the parser is reading."""
        return cycle is self

    def feed(self, data: bytes) -> None:
        """Take a piece of the body. Once refused, the rest is let pass: the answer comes after it."""
        self._arrived += len(data)
        self._heard = time.monotonic()
        if self._refusal is not None:
            return
        try:
            self._ticket.grow(len(data))
        except FullError as full:
            self._refuse(self._hot.too_much(full))
        else:
            self._body.append(data)

    def end(self) -> None:
        """The body is complete: work, or answer what was refused."""
        self.complete = True
        if self._refusal is not None:
            self._turn_away(self._refusal)
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        try:
            self._call = self._route.start(body, self._ticket, self._answer)
        except RefusalError as refusal:
            self._turn_away(refusal)
        except Exception:  # noqa: BLE001 - whatever fails, its client gets an answer
            _log.exception("a request failed", extra={"fields": {"request_id": self._request.id}})
            text = "The service failed; its log says why, under this answer's X-Request-Id."
            self._answer(RefusalError(500, "internal", text).reply())

    def patience(self, timeout: float) -> float:
        """Seconds until the client has been silent for `timeout`, or too slow on the whole."""
        return min(self._heard, self._since + self._arrived / SLOWEST) + timeout - time.monotonic()

    def late(self, timeout: float) -> None:
        """Give the body up."""
        text = f"The request's body did not arrive: {self._arrived} bytes came, then too little for {timeout:g} s."
        self.keep_alive = False
        self._answer(RefusalError(408, "timeout", text).reply())

    def lost(self) -> None:
        """The connection is gone."""
        self.disconnected = True
        if self._call is not None:
            self._call.gone = True
        elif not self.response_complete:
            self._answer(None)

    def _refuse(self, refusal: RefusalError) -> None:
        self._refusal = refusal
        self._body = []
        self._ticket.close()

    def _turn_away(self, refusal: RefusalError) -> None:
        """Answer a refusal: at once, but to a connection that comes back without waiting, only after a while.

        Hundreds of clients that ask again and again would otherwise take the time of those that were let in.
        """
        self._ticket.close()
        reply = refusal.reply()
        if refusal.code == "overloaded":
            now = time.monotonic()
            wait = self._protocol.turned_away + _PENALTY - now
            self._protocol.turned_away = now + max(0.0, wait)
            if wait > 0:
                self._protocol.loop.call_later(wait, self._answer, reply)
                return
        self._answer(reply)

    def _answer(self, reply: Reply | None) -> None:
        if self.response_complete:
            return
        self.response_complete = True
        self._ticket.close()
        self._call = None
        transport = self._protocol.transport
        if reply is None or self.disconnected or transport.is_closing():
            self._hot.hung_up(self._request)
            return
        common = self._hot.left(self._request, reply)
        head = [
            STATUS_LINE[reply.status],
            b"content-type: ", reply.media_type.encode(), b"\r\ncontent-length: ", str(len(reply.body)).encode(),
            b"\r\nx-request-id: ", self._request.id.encode(), b"\r\n",
        ]  # fmt: skip
        # What uvicorn gives every answer of its own: the date, made once a second.
        for name, value in (*self._protocol.server_state.default_headers, *reply.headers):
            head += (name, b": ", value, b"\r\n")
        head += (common, b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", reply.body)
        transport.write(b"".join(head))
        if not self.keep_alive:
            transport.close()
        self._protocol.fast_done()


class _Nobody:
    """Stands for the event that uvicorn sets on whatever cycle its connection has: here nobody waits for it."""

    def set(self) -> None:
        """Nothing to do."""


_NOBODY = _Nobody()


async def _nothing() -> dict[str, Any]:
    raise AssertionError("the fast lane hands over whole bodies")
