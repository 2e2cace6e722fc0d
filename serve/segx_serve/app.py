"""The ASGI application: builds the parts, starts and stops them, finds the route, and shapes every answer.

What a route does stands in segment.py and info.py; what a server is stands in run.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from segx_core.picture import Limits, read
from segx_core.picture import encode_png as png
from segx_core.runner import Runner
from segx_serve import docs, info, models, openapi, pages
from segx_serve.admission import Admission
from segx_serve.body import LINGER, ClientGoneError, patience, swallow
from segx_serve.http import Headers, Receive, RefusalError, Reply, Request, Scope, Send, as_json, refused
from segx_serve.mailbox import Mailbox
from segx_serve.metrics import Metrics
from segx_serve.pipeline import Pipeline
from segx_serve.segment import Segment, find
from segx_serve.settings import Settings
from segx_serve.workers import Workers

Handler = Callable[[Request], Awaitable[Reply]]
_log = logging.getLogger("segx.serve")
_MODELS = "/v2/models/"


def create_app(runners: Mapping[str, Runner], settings: Settings | None = None) -> App:
    """An ASGI application that serves `runners` under their names.

    Each runner belongs to this application from now on. Its `card`, `provider` and `size_bytes` are used where it
    has them, as core's Predictor does.

    Raises:
        ConfigError: no runner, or a name that cannot stand in an address.
        PictureError: `settings.sample` is no picture.
    """
    return App(runners, settings or Settings())


class App:
    """One service. Threads start with ASGI's lifespan and end with it."""

    def __init__(self, runners: Mapping[str, Runner], settings: Settings) -> None:
        self.metrics = Metrics()
        self._mailbox = Mailbox()
        self._workers = Workers(settings.codec_threads(), "segx-codec")
        pipeline = Pipeline(self._workers, self._mailbox, self.metrics, settings.max_pixels)
        self.models = models.build(runners, settings, self.metrics, pipeline.ran)
        admission = Admission(settings.max_queue, settings.max_queue_bytes)
        self.metrics.admission(lambda: admission.requests, lambda: admission.bytes)
        segment = Segment(self.models, settings, admission, pipeline, self.metrics)
        self._running = False
        self._drain = max(1.0, settings.drain_seconds)
        self._common = pages.security_headers()
        self._routes = self._table(segment, settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(Request(scope, receive), send)
        else:
            assert scope["type"] == "websocket"
            await send({"type": "websocket.close", "code": 1000})

    def _table(self, segment: Segment, settings: Settings) -> dict[str, dict[str, Handler]]:
        """Path -> method -> handler. Whatever stands here is in openapi.py, and a test compares the two."""
        document = openapi.document(list(self.models), settings)
        fixed: dict[str, Reply] = pages.page_files()
        fixed["/docs"] = pages.html(docs.render(document))
        fixed["/openapi.json"] = as_json(document)
        if settings.sample:
            fixed["/sample"] = Reply(200, png(read(settings.sample, Limits())), "image/png")
        table: dict[str, dict[str, Handler]] = {path: {"GET": _always(reply)} for path, reply in fixed.items()}
        table["/segment"] = {"POST": segment}
        table["/models"] = {"GET": _call(partial(info.models, self.models, settings.sample is not None))}
        table["/metrics"] = {"GET": _call(lambda: Reply(200, self.metrics.text(), Metrics.media_type))}
        table["/v2"] = {"GET": _call(partial(info.server, settings))}
        table["/v2/health/live"] = {"GET": _call(info.live)}
        table["/v2/health/ready"] = {"GET": _call(partial(info.ready, self.models))}
        table[_MODELS + "{name}"] = {"GET": self._metadata}
        table[_MODELS + "{name}/ready"] = {"GET": self._model_ready}
        return table

    async def _metadata(self, request: Request) -> Reply:
        return info.model_metadata(find(self.models, request.path[len(_MODELS) :]))

    async def _model_ready(self, request: Request) -> Reply:
        return info.model_ready(find(self.models, request.path[len(_MODELS) : -len("/ready")]))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._mailbox.open(asyncio.get_running_loop())
                self._workers.start()
                for model in self.models.values():
                    model.engine.start()
                self._running = True
                await send({"type": "lifespan.startup.complete"})
            else:
                await asyncio.to_thread(self._stop, self._drain)
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _stop(self, patience: float) -> None:
        self._running = False
        for model in self.models.values():
            model.engine.stop(patience)
        self._workers.stop(patience)

    async def _http(self, request: Request, send: Send) -> None:
        route = _route(request.path)
        try:
            reply = await self._answer(route, request)
        except ClientGoneError:
            self.metrics.request(route if route in self._routes else "other", 499)
            return
        self.metrics.request(route if route in self._routes else "other", reply.status)
        await self._send(request, reply, send)

    async def _answer(self, route: str, request: Request) -> Reply:
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
            if not self._running:
                raise RefusalError(
                    503, "starting", "The service is starting or stopping.", headers=((b"retry-after", b"1"),)
                )
            return await handler(request)
        except RefusalError as refusal:
            return refused(refusal, plain=route.startswith("/v2"))
        except ClientGoneError:
            raise
        except asyncio.CancelledError:
            # The server cancels what is still going on when draining takes too long; its task ends right here.
            text = "The service stopped before it came to this request."
            return refused(RefusalError(503, "stopping", text), plain=route.startswith("/v2"))
        except Exception:  # noqa: BLE001 - whatever fails in a route, its client gets an answer
            _log.exception("request %s failed", request.id)
            failed = RefusalError(
                500, "internal", "The service failed; its log says why, under this answer's X-Request-Id."
            )
            return refused(failed, plain=route.startswith("/v2"))

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
