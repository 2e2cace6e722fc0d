"""OpenTelemetry traces: a span for each request, and below it one for each stage its picture went through.

Spans are made when the request has been answered, from times that were taken anyway, so that nothing on a picture's
way knows of them; they are sent to a collector over OTLP/HTTP by a thread of the SDK. Needs the extra `otel`; without
an endpoint nothing of OpenTelemetry is imported. It knows nothing of pictures.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from segx_core.errors import ConfigError, SetupError
from segx_core.version import segx_version
from segx_serve.http import Request
from segx_serve.job import Timing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

Stage = tuple[str, int, int]
"""(name, begin, end), nanoseconds since 1970."""

_PATH = "/v1/traces"
_TIMEOUT = 3.0  # seconds for one export
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})


class Tracer(Protocol):
    """Takes answered requests."""

    on: bool
    """Whether `record` does anything: asking first saves gathering what it takes."""

    def record(
        self,
        request: Request,
        route: str,
        status: int,
        began: int,
        ended: int,
        stages: Sequence[Stage] = (),
        model: str | None = None,
        batch: int | None = None,
    ) -> None:
        """Make the spans of one answered request. Any thread; waits for nothing.

        Args:
            request: the request; its `traceparent` decides whose child the span is, and whether it is kept.
            route: the pattern its path falls under.
            status: of the answer.
            began: when its headers were there, nanoseconds since 1970 (time.time_ns).
            ended: when it was answered.
            stages: what its picture went through (`stages`).
            model: which model it ran on.
            batch: how many pictures ran together.
        """
        ...

    def close(self, patience: float = 3.0) -> None:
        """Send what waits, for at most `patience` seconds."""
        ...


def make(endpoint: str | None, role: str = "serve") -> Tracer:
    """A tracer that sends to an OTLP/HTTP collector, or without an endpoint one that does nothing.

    Args:
        endpoint: such as `http://127.0.0.1:4318`; with a path of its own where that is not /v1/traces.
        role: which of the service's processes this is.

    Raises:
        ConfigError: no address of a collector.
        SetupError: the extra `otel` is not installed.
    """
    if endpoint is None:
        return Silent()
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            "--otel-endpoint to be an address such as http://127.0.0.1:4318",
            f"'{endpoint}'",
            "It is where a collector takes OTLP over HTTP.",
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SetupError(
            "OpenTelemetry to be installed, for --otel-endpoint", f"'{error}'", "pip install 'segx[otel]' brings it."
        ) from error
    address = endpoint if parts.path not in ("", "/") else endpoint.rstrip("/") + _PATH
    return Recording(BatchSpanProcessor(OTLPSpanExporter(address, timeout=_TIMEOUT)), role)


def stages(timing: Timing, ended: int) -> list[Stage]:
    """The stages of one picture, laid end to end so that the last ends with the request.

    A picture waits more than once; `queue` is the sum and stands in front.

    Args:
        timing: seconds in each.
        ended: when the request was answered, nanoseconds since 1970.
    """
    lengths = [("queue", timing.queue), ("decode", timing.decode), ("run", timing.run), ("encode", timing.encode)]
    found: list[Stage] = []
    for name, seconds in reversed(lengths):
        if seconds:
            begin = ended - round(seconds * 1e9)
            found.append((name, begin, ended))
            ended = begin
    return found[::-1]


class Silent:
    """Does nothing."""

    on = False

    def record(
        self,
        request: Request,
        route: str,
        status: int,
        began: int,
        ended: int,
        stages: Sequence[Stage] = (),
        model: str | None = None,
        batch: int | None = None,
    ) -> None:
        """As Tracer.record: nothing."""

    def close(self, patience: float = 3.0) -> None:
        """As Tracer.close: nothing."""


class Recording:
    """Makes spans.

    Args:
        processor: takes the finished spans.
        role: which of the service's processes this is.
    """

    on = True

    def __init__(self, processor: SpanProcessor, role: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create(
            {"service.name": "segx", "service.version": segx_version(), "segx.process.role": role}
        )
        # Of its own, not OpenTelemetry's global one: two services in one process do not mix.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("segx_serve", segx_version())
        self._context = TraceContextTextMapPropagator()

    def record(
        self,
        request: Request,
        route: str,
        status: int,
        began: int,
        ended: int,
        stages: Sequence[Stage] = (),
        model: str | None = None,
        batch: int | None = None,
    ) -> None:
        """As Tracer.record."""
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

        carrier = {name: request.header(name.encode()) for name in ("traceparent", "tracestate")}
        attributes = _attributes(request, route, status)
        if model is not None:
            attributes["segx.model"] = model
        if batch is not None:
            attributes["segx.batch_size"] = batch
        span = self._tracer.start_span(
            f"{attributes['http.request.method']} {route}".replace("_OTHER", "HTTP"),
            context=self._context.extract({name: value for name, value in carrier.items() if value}),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=began,
        )
        if span.is_recording():
            if status >= 500:
                span.set_status(StatusCode.ERROR)
            below = set_span_in_context(span)
            for name, begin, end in stages:
                self._tracer.start_span(name, context=below, start_time=begin).end(end_time=end)
        span.end(end_time=ended)

    def close(self, patience: float = 3.0) -> None:
        """As Tracer.close."""
        # The SDK waits up to half a minute for a collector that does not answer; nobody who stops a service does.
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(patience)


def _attributes(request: Request, route: str, status: int) -> dict[str, str | int]:
    """By OpenTelemetry's conventions for HTTP servers; the query is left out, its values may be private."""
    known = request.method in _METHODS
    found: dict[str, str | int] = {
        "http.request.method": request.method if known else "_OTHER",
        "http.route": route,
        "http.response.status_code": status,
        "url.path": request.path,
        "url.scheme": str(request.scope.get("scheme", "http")),
        "network.protocol.version": str(request.scope.get("http_version", "1.1")),
        "segx.request_id": request.id,
    }
    if not known:
        found["http.request.method_original"] = request.method
    if agent := request.header(b"user-agent"):
        found["user_agent.original"] = agent
    if status >= 500:
        found["error.type"] = str(status)
    for name, place in (("client", request.scope.get("client")), ("server", request.scope.get("server"))):
        if place:
            found[f"{name}.address"] = str(place[0])
            if place[1] is not None:
                found[f"{name}.port"] = int(place[1])
    return found
