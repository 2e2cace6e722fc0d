"""The ASGI application: finds the route, and shapes every answer.

What a route does stands in segment.py and info.py; what the parts of a service are and how they end in service.py;
what a server is in run.py.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from segx_core.picture import Limits, read
from segx_core.picture import encode_png as png
from segx_serve import info, metrics, pages
from segx_serve.admission import FullError, Ticket
from segx_serve.body import LINGER, ClientGoneError, patience, read_body, swallow
from segx_serve.described import Described
from segx_serve.door import Door
from segx_serve.fastlane import Route
from segx_serve.http import (
    Headers,
    Receive,
    RefusalError,
    Reply,
    Request,
    Scope,
    Send,
    request_ids,
)
from segx_serve.job import Call
from segx_serve.oip.paths import PATTERNS, Match, match
from segx_serve.protocols import make_grpc, make_oip
from segx_serve.segment import Plan, Segment
from segx_serve.service import Service
from segx_serve.tls import Renewal

Handler = Callable[[Request], Awaitable[Reply]]
_log = logging.getLogger("segx.serve")
_REFUSED = "segx.refused"
# How a request whose client hung up is counted; no client ever sees it.
_HUNG_UP = 499
# How often certificates are looked at, seconds.
_RENEWAL = 60.0


class App:
    """One service as ASGI sees it. Its threads start with ASGI's lifespan and end with it.

    Raises:
        SegxError: a key file, an origin, a collector's address or a sample picture that cannot be used.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.catalog = service.catalog
        self.door = Door(service.settings, service.tally)
        self.new_id = request_ids()
        self.max_body = service.settings.max_body
        self._segment = Segment(service.catalog, service.desk)
        self._oip = make_oip(service, self.door)
        self._grpc = make_grpc(service, self._oip, self.door)
        self._routes = self._table()
        self.tls_context: Callable[[], ssl.SSLContext | None] = lambda: None
        """Where the server says which TLS context it uses, so that a renewed certificate can be taken into it."""
        self._renewing: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(Request(scope, receive, self.new_id), send)
        else:
            assert scope["type"] == "websocket"
            await send({"type": "websocket.close", "code": 1000})

    # What the fast lane asks; see fastlane.Hot.

    def fast(self, request: Request) -> Route | None:
        """The route for a request that needs no ASGI, None for every other."""
        if request.path != Segment.route or not self.service.running:
            return None
        if not self.door.open:
            try:
                if self.door.enter(request) is not None:
                    return None
            except RefusalError as refusal:
                # ASGI gets the same scope: it need not look, and count, again.
                request.scope[_REFUSED] = refusal
                raise
        plan = self._segment.hot(request)
        return None if plan is None else _Fast(self._segment, request, plan)

    def open_ticket(self) -> Ticket:
        """A ticket for one request."""
        return self.service.desk.admission.ticket()

    @property
    def full(self) -> bool:
        """Whether there is no place for a further request."""
        return self.service.desk.admission.full

    def too_much(self, full: FullError) -> RefusalError:
        """What a request is answered with that there is no room for."""
        return self.service.desk.shed(full.reason)

    def left(self, request: Request, reply: Reply) -> bytes:
        """Count and tell of an answer; returns the headers that every answer has, as they go over the wire."""
        self.door.left(request, request.path, reply.status, reply)
        return self.door.block(request)

    def hung_up(self, request: Request) -> None:
        """Count and tell of a request whose client hung up."""
        self.door.left(request, request.path, _HUNG_UP, None)

    def replay(self, what: dict[str, Any]) -> None:
        """Do what another front-end did for a client: shared memory is the same for all of them."""
        assert self._oip is not None
        found = match(what["path"])
        assert found is not None
        try:
            if found.operation == "shm_register":
                self._oip.shm_register(found.region, what["body"].encode())
            else:
                self._oip.shm_unregister(found.region)
        except RefusalError as refusal:
            _log.warning("shared memory that another front-end took is not there: %s", refusal.message)

    def _table(self) -> dict[str, dict[str, Handler]]:
        """Path -> method -> handler. Whatever stands here is described in openapi/, and a test compares the two."""
        settings = self.service.settings
        described = Described(self.catalog, settings)
        fixed: dict[str, Reply] = pages.page_files()
        if settings.sample:
            fixed["/sample"] = Reply(200, png(read(settings.sample, Limits())), "image/png")
        table: dict[str, dict[str, Handler]] = {path: {"GET": _always(reply)} for path, reply in fixed.items()}
        table["/segment"] = {"POST": self._segment}
        table["/docs"] = {"GET": _call(described.page)}
        table["/openapi.json"] = {"GET": _call(described.document)}
        table["/models"] = {"GET": _call(partial(info.models, self.catalog, settings.sample is not None))}
        table["/metrics"] = {"GET": self._metrics}
        table["/v2"] = {"GET": _call(partial(info.server, settings, self._oip))}
        table["/v2/health/live"] = {"GET": _call(info.live)}
        table["/v2/health/ready"] = {"GET": _call(partial(info.ready, self.catalog))}
        return table

    def _find(self, request: Request) -> tuple[str, Handler]:
        """The pattern that a request's path falls under, and what answers it.

        Raises:
            RefusalError: 404, or 405 with the methods that are possible.
        """
        found = match(request.path)
        # The protocol's addresses may end in a slash; what the service answers itself it answers there too.
        route = PATTERNS[found.operation] if found else request.path
        methods = self._routes.get(route)
        allowed, handler = list(methods or ()), None
        if methods is not None:
            handler = methods.get("GET" if request.method == "HEAD" else request.method)
        elif found is not None:
            allowed = [found.method]
            if found.method == ("GET" if request.method == "HEAD" else request.method):
                handler = partial(self._protocol, found)
        if handler is not None:
            return route, handler
        if not allowed:
            raise RefusalError(
                404, "not_found", f"There is nothing at {request.path[:100]}. GET /docs lists what there is."
            )
        names = ", ".join([*allowed, "HEAD"] if "GET" in allowed else allowed)
        raise RefusalError(
            405,
            "method_not_allowed",
            f"{request.method} is not possible here; {names} is.",
            headers=((b"allow", names.encode()),),
        )

    async def _metrics(self, request: Request) -> Reply:
        return Reply(200, metrics.text(await self.service.snapshot()), metrics.MEDIA_TYPE)

    async def _protocol(self, found: Match, request: Request) -> Reply:
        """An operation of the Open Inference Protocol."""
        desk, settings = self.service.desk, self.service.settings
        try:
            with desk.admission.ticket() as ticket:
                body = b""
                if found.method == "POST":
                    body = await read_body(request, ticket, settings.max_body, settings.read_timeout)
                work = self._oip.call(found, request, body)
                # A change of models goes on whether or not its client waits for it.
                reply = await (_unless_gone(work, request) if found.operation == "infer" else work)
        except FullError as full:
            raise desk.shed(full.reason) from None
        if found.operation in ("shm_register", "shm_unregister"):
            text = body.decode() if found.operation == "shm_register" else ""
            await self.service.share({"path": request.path, "body": text})
        return reply

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        await self.service.start()
        if self._grpc is not None:
            await self._grpc.start()
        tls, context = self.service.settings.tls, self.tls_context()
        if tls is not None and context is not None:
            self._renewing = asyncio.create_task(_renew(Renewal(tls, context)))

    async def _stop(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if self._grpc is not None:
            await self._grpc.stop(max(1.0, self.service.settings.drain_seconds))
        await self.service.stop()
        self.door.close()

    async def _http(self, request: Request, send: Send) -> None:
        plain = request.path.startswith("/v2")
        route = "other"
        try:
            try:
                if (refused := request.scope.get(_REFUSED)) is not None:
                    raise refused
                reply = self.door.enter(request)
                if reply is None:
                    route, handler = self._find(request)
                    reply = await self._answer(handler, request)
            except RefusalError as refusal:
                reply = refusal.reply(plain=plain)
        except ClientGoneError:
            self.door.left(request, route, _HUNG_UP, None)
            return
        self.door.left(request, route, reply.status, reply)
        await self._send(request, reply, send)

    async def _answer(self, handler: Handler, request: Request) -> Reply:
        """The reply of a route, whatever happens in it.

        Raises:
            RefusalError: the route's, or one of ours.
            ClientGoneError: there is nobody to be answered.
        """
        try:
            if not self.service.running:
                raise RefusalError(
                    503, "starting", "The service is starting or stopping.", headers=((b"retry-after", b"1"),)
                )
            return await handler(request)
        except (RefusalError, ClientGoneError):
            raise
        except asyncio.CancelledError:
            # The server cancels what is still going on when draining takes too long; its task ends right here.
            raise RefusalError(503, "stopping", "The service stopped before it came to this request.") from None
        except Exception:  # noqa: BLE001 - whatever fails in a route, its client gets an answer
            _log.exception("a request failed", extra={"fields": {"request_id": request.id}})
            text = "The service failed; its log says why, under this answer's X-Request-Id."
            raise RefusalError(500, "internal", text) from None

    async def _send(self, request: Request, reply: Reply, send: Send) -> None:
        """Send an answer, and where part of the request was not read, see that the client gets to read the answer."""
        if request.unread and reply.status != 408:
            await swallow(request, patience(request))
        headers: Headers = (
            (b"content-type", reply.media_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
            (b"x-request-id", request.id.encode()),
            *reply.headers,
            *self.door.headers(request),
        )
        if request.unread:
            headers = (*headers, (b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": reply.body, "more_body": request.unread})
        if request.unread:
            if reply.status != 408:
                await swallow(request, LINGER)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Fast:
    """One request of /segment on the fast lane."""

    __slots__ = ("_plan", "_request", "_segment")

    def __init__(self, segment: Segment, request: Request, plan: Plan) -> None:
        self._segment = segment
        self._request = request
        self._plan = plan

    def start(self, body: bytes, ticket: Ticket, answer: Callable[[Reply | None], None]) -> Call:
        """See fastlane.Route."""
        return self._segment.start(self._request, self._plan, body, ticket, answer)


async def _renew(renewal: Renewal) -> None:
    """Take renewed certificates into use, without end."""
    while True:
        await asyncio.sleep(_RENEWAL)
        await asyncio.to_thread(renewal.look)


async def _unless_gone(work: Coroutine[Any, Any, Reply], request: Request) -> Reply:
    """Await work, and cancel it when the client hangs up meanwhile.

    Raises:
        ClientGoneError: it did.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError
    finally:
        watching.cancel()
        working.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _always(reply: Reply) -> Handler:
    async def handler(request: Request) -> Reply:
        return reply

    return handler


def _call(build: Callable[[], Reply]) -> Handler:
    async def handler(request: Request) -> Reply:
        return build()

    return handler
