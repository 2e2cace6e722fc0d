"""The ASGI application: finds the route, and shapes every answer.

What a route does stands in segment.py and info.py; what the parts of a service are and how they end in service.py;
what a server is in run.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from segx_core.picture import Limits, read
from segx_core.picture import encode_png as png
from segx_serve import docs, info, metrics, openapi, pages
from segx_serve.admission import FullError, Ticket
from segx_serve.body import LINGER, ClientGoneError, patience, swallow
from segx_serve.fastlane import Route
from segx_serve.http import (
    Headers,
    Receive,
    RefusalError,
    Reply,
    Request,
    Scope,
    Send,
    as_json,
    request_ids,
)
from segx_serve.job import Call
from segx_serve.segment import Plan, Segment
from segx_serve.service import Service

Handler = Callable[[Request], Awaitable[Reply]]
_log = logging.getLogger("segx.serve")
_MODELS = "/v2/models/"


class App:
    """One service as ASGI sees it. Its threads start with ASGI's lifespan and end with it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.catalog = service.catalog
        self.new_id = request_ids()
        self.max_body = service.settings.max_body
        self._segment = Segment(service.catalog, service.desk)
        self._common = pages.security_headers()
        self._block = b"".join(name + b": " + value + b"\r\n" for name, value in self._common)
        self._routes = self._table()

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
        plan = self._segment.hot(request)
        return None if plan is None else _Fast(self._segment, request, plan)

    def open_ticket(self) -> Ticket:
        """A ticket for one request."""
        return self.service.desk.admission.ticket()

    def too_much(self, full: FullError) -> RefusalError:
        """What a request is answered with that there is no room for."""
        return self.service.desk.shed(full.reason)

    def counted(self, request: Request, reply: Reply) -> bytes:
        """Count an answer; returns the headers that every answer has, as one block."""
        self.service.tally.request(request.path, reply.status)
        return self._block

    def hung_up(self, request: Request) -> None:
        """Count a request whose client hung up."""
        self.service.tally.request(request.path, 499)

    def _table(self) -> dict[str, dict[str, Handler]]:
        """Path -> method -> handler. Whatever stands here is in openapi.py, and a test compares the two."""
        settings = self.service.settings
        document = openapi.document(self.catalog.names, settings)
        fixed: dict[str, Reply] = pages.page_files()
        fixed["/docs"] = pages.html(docs.render(document))
        fixed["/openapi.json"] = as_json(document)
        if settings.sample:
            fixed["/sample"] = Reply(200, png(read(settings.sample, Limits())), "image/png")
        table: dict[str, dict[str, Handler]] = {path: {"GET": _always(reply)} for path, reply in fixed.items()}
        table["/segment"] = {"POST": self._segment}
        table["/models"] = {"GET": _call(partial(info.models, self.catalog, settings.sample is not None))}
        table["/metrics"] = {"GET": self._metrics}
        table["/v2"] = {"GET": _call(partial(info.server, settings))}
        table["/v2/health/live"] = {"GET": _call(info.live)}
        table["/v2/health/ready"] = {"GET": _call(partial(info.ready, self.catalog))}
        table[_MODELS + "{name}"] = {"GET": self._metadata}
        table[_MODELS + "{name}/ready"] = {"GET": self._model_ready}
        return table

    async def _metrics(self, request: Request) -> Reply:
        return Reply(200, metrics.text(await self.service.snapshot()), metrics.MEDIA_TYPE)

    async def _metadata(self, request: Request) -> Reply:
        return info.model_metadata(self.catalog.find(request.path[len(_MODELS) :]))

    async def _model_ready(self, request: Request) -> Reply:
        return info.model_ready(self.catalog.find(request.path[len(_MODELS) : -len("/ready")]))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.service.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.service.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, request: Request, send: Send) -> None:
        route = _route(request.path)
        tally = self.service.tally
        try:
            reply = await self._answer(route, request)
        except ClientGoneError:
            tally.request(route if route in self._routes else "other", 499)
            return
        tally.request(route if route in self._routes else "other", reply.status)
        await self._send(request, reply, send)

    async def _answer(self, route: str, request: Request) -> Reply:
        plain = route.startswith("/v2")
        try:
            methods = self._routes.get(route)
            if methods is None:
                raise RefusalError(
                    404, "not_found", f"There is nothing at {request.path[:100]}. GET /docs lists what there is."
                )
            handler = methods.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                allowed = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
                raise RefusalError(
                    405,
                    "method_not_allowed",
                    f"{request.method} is not possible here; {allowed} is.",
                    headers=((b"allow", allowed.encode()),),
                )
            if not self.service.running:
                raise RefusalError(
                    503, "starting", "The service is starting or stopping.", headers=((b"retry-after", b"1"),)
                )
            return await handler(request)
        except RefusalError as refusal:
            return refusal.reply(plain=plain)
        except ClientGoneError:
            raise
        except asyncio.CancelledError:
            # The server cancels what is still going on when draining takes too long; its task ends right here.
            text = "The service stopped before it came to this request."
            return RefusalError(503, "stopping", text).reply(plain=plain)
        except Exception:  # noqa: BLE001 - whatever fails in a route, its client gets an answer
            _log.exception("request %s failed", request.id, extra={"request_id": request.id})
            text = "The service failed; its log says why, under this answer's X-Request-Id."
            return RefusalError(500, "internal", text).reply(plain=plain)

    async def _send(self, request: Request, reply: Reply, send: Send) -> None:
        """Send an answer, and where part of the request was not read, see that the client gets to read the answer."""
        if request.unread and reply.status != 408:
            await swallow(request, patience(request))
        headers: Headers = (
            (b"content-type", reply.media_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
            (b"x-request-id", request.id.encode()),
            *reply.headers,
            *self._common,
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


def _route(path: str) -> str:
    """The pattern a path falls under."""
    if not path.startswith(_MODELS):
        return path
    name, slash, rest = path[len(_MODELS) :].partition("/")
    return f"{_MODELS}{{name}}{slash}{rest}" if name else path


def _always(reply: Reply) -> Handler:
    async def handler(request: Request) -> Reply:
        return reply

    return handler


def _call(build: Callable[[], Reply]) -> Handler:
    async def handler(request: Request) -> Reply:
        return build()

    return handler
