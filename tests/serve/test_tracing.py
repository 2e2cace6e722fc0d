from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from segx_core.errors import ConfigError, SetupError
from segx_serve.http import Request, request_ids
from segx_serve.job import Timing
from segx_serve.tracing import Recording, Silent, make, stages

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BEGAN = 1_800_000_000_000_000_000
ENDED = BEGAN + 50_000_000


async def _nothing() -> Any:
    raise AssertionError("nobody reads a body here")


def request(method: str = "POST", **headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "method": method, "path": "/segment", "scheme": "https", "http_version": "1.1",
        "query_string": b"model=private",
        "client": ("192.0.2.1", 4711), "server": ("127.0.0.1", 8000), "headers": [(b"x-request-id", b"r-1"), *pairs],
    }  # fmt: skip
    return Request(scope, _nothing, request_ids())


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(memory: InMemorySpanExporter) -> Iterator[Recording]:
    made = Recording(SimpleSpanProcessor(memory), "front-1")
    yield made
    made.close()


def test_stages_are_laid_end_to_end_before_the_answer() -> None:
    laid = stages(Timing(queue=0.001, decode=0.002, run=0.004, encode=0.0005), ENDED)
    assert [name for name, _, _ in laid] == ["queue", "decode", "run", "encode"]
    assert [end - begin for _, begin, end in laid] == [1_000_000, 2_000_000, 4_000_000, 500_000]
    assert laid[-1][2] == ENDED
    assert all(one[2] == two[1] for one, two in pairwise(laid))
    assert stages(Timing(queue=0.001), ENDED) == [("queue", ENDED - 1_000_000, ENDED)]


def test_a_request_is_a_span_with_its_stages_below(tracer: Recording, memory: InMemorySpanExporter) -> None:
    assert tracer.on
    laid = stages(Timing(0.001, 0.002, 0.004, 0.0005), ENDED)
    tracer.record(request(user_agent="curl/8"), "/segment", 200, BEGAN, ENDED, laid, model="tiny", batch=3)
    *below, top = memory.get_finished_spans()
    assert (top.name, top.kind, top.parent) == ("POST /segment", SpanKind.SERVER, None)
    assert (top.start_time, top.end_time, top.status.status_code) == (BEGAN, ENDED, StatusCode.UNSET)
    assert top.attributes == {
        "http.request.method": "POST", "http.route": "/segment", "http.response.status_code": 200,
        "url.path": "/segment", "url.scheme": "https", "network.protocol.version": "1.1", "segx.request_id": "r-1",
        "user_agent.original": "curl/8", "client.address": "192.0.2.1", "client.port": 4711,
        "server.address": "127.0.0.1", "server.port": 8000, "segx.model": "tiny", "segx.batch_size": 3,
    }  # fmt: skip
    assert [(span.name, span.start_time, span.end_time) for span in below] == laid
    for span in below:
        assert span.parent is not None
        assert span.parent.span_id == top.context.span_id
        assert span.context.trace_id == top.context.trace_id
    assert top.resource.attributes["service.name"] == "segx"
    assert top.resource.attributes["segx.process.role"] == "front-1"
    assert "private" not in str([span.to_json() for span in memory.get_finished_spans()])


def test_the_clients_trace_goes_on_and_its_wish_not_to_be_traced_counts(
    tracer: Recording, memory: InMemorySpanExporter
) -> None:
    tracer.record(request(traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="a=b"), "/segment", 200, BEGAN, ENDED)
    (span,) = memory.get_finished_spans()
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.context.trace_state.get("a") == "b"
    memory.clear()
    tracer.record(
        request(traceparent=f"00-{TRACE}-{PARENT}-00"), "/segment", 200, BEGAN, ENDED, [("run", BEGAN, ENDED)]
    )
    assert memory.get_finished_spans() == ()
    for broken in ("", "junk", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"):
        tracer.record(request(traceparent=broken), "/segment", 200, BEGAN, ENDED)
    assert [span.parent for span in memory.get_finished_spans()] == [None] * 4


def test_failures_and_strange_methods_are_marked(tracer: Recording, memory: InMemorySpanExporter) -> None:
    tracer.record(request(), "/segment", 503, BEGAN, ENDED)
    tracer.record(request(), "/segment", 404, BEGAN, ENDED)
    tracer.record(request("BREW"), "other", 405, BEGAN, ENDED)
    failed, missing, strange = memory.get_finished_spans()
    assert failed.status.status_code == StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "503"
    assert missing.status.status_code == StatusCode.UNSET
    assert strange.name == "HTTP other"
    assert strange.attributes is not None
    assert strange.attributes["http.request.method_original"] == "BREW"


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP as a collector does, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Take)
        self.taken: list[tuple[str, ExportTraceServiceRequest]] = []


class Take(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        message = ExportTraceServiceRequest()
        message.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Collector)
        self.server.taken.append((self.path, message))
        body = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(30)


@pytest.mark.parametrize(("ending", "path"), [("", "/v1/traces"), ("/", "/v1/traces"), ("/own/place", "/own/place")])
def test_a_collector_gets_the_spans(collector: Collector, ending: str, path: str) -> None:
    tracer = make(f"http://127.0.0.1:{collector.server_address[1]}{ending}", "front-2")
    for _ in range(5):
        tracer.record(request(), "/segment", 200, BEGAN, ENDED, [("run", BEGAN, ENDED)], model="tiny")
    tracer.close()
    assert {where for where, _ in collector.taken} == {path}
    spans = [
        span
        for _, message in collector.taken
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert sorted(span.name for span in spans) == ["POST /segment"] * 5 + ["run"] * 5
    top = {span.span_id: span for span in spans if not span.parent_span_id}
    assert all(span.parent_span_id in top for span in spans if span.name == "run")
    assert {(span.start_time_unix_nano, span.end_time_unix_nano) for span in spans} == {(BEGAN, ENDED)}


def test_a_collector_that_is_not_there_stops_nobody(free_port: int) -> None:
    tracer = make(f"http://127.0.0.1:{free_port}")
    tracer.record(request(), "/segment", 200, BEGAN, ENDED)
    tracer.close()


def test_a_collector_that_never_answers_does_not_hold_up_the_end() -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        tracer = make(f"http://127.0.0.1:{hole.getsockname()[1]}")
        tracer.record(request(), "/segment", 200, BEGAN, ENDED)
        tracer.close(patience=0.05)
        (ending,) = [thread for thread in threading.enumerate() if thread.name == "traces-end"]
        assert ending.is_alive()
        assert ending.daemon
    ending.join(60)


def test_without_an_endpoint_nothing_happens_and_nothing_is_imported() -> None:
    tracer = make(None)
    assert isinstance(tracer, Silent)
    assert not tracer.on
    tracer.record(request(), "/segment", 200, BEGAN, ENDED)
    tracer.close()
    code = (
        "import sys\nimport segx_serve.tracing as tracing\ntracing.make(None)\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=here)


def test_a_bad_endpoint_and_a_missing_extra_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for endpoint in ("collector:4318", "grpc://collector", "http://", ""):
        with pytest.raises(ConfigError, match="--otel-endpoint"):
            make(endpoint)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SetupError, match=r"segx\[otel\]"):
        make("http://127.0.0.1:4318")
