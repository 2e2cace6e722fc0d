"""What Prometheus can ask of one service. Each has a registry of its own: two in one process do not mix."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from segx_serve.job import Timing

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters, gauges and histograms; safe to use from any thread."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "segx_requests", "Answered requests by route and status.", ["route", "status"], registry=self._registry
        )
        self._pictures = Counter("segx_pictures", "Pictures segmented, by model.", ["model"], registry=self._registry)
        self._shed = Counter(
            "segx_shed", "Requests refused or dropped to stay healthy, by reason.", ["reason"], registry=self._registry
        )
        self._duration = Histogram(
            "segx_request_seconds",
            "Time from headers to answer of /segment.",
            registry=self._registry,
            buckets=_SECONDS,
        )
        stage = Histogram(
            "segx_stage_seconds",
            "Time in each stage of a picture.",
            ["stage"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._queue, self._decode, self._run, self._encode = (
            stage.labels(name) for name in ("queue", "decode", "run", "encode")
        )
        self._batch = Histogram(
            "segx_batch_size", "Pictures run together.", ["model"], registry=self._registry, buckets=_BATCH
        )
        self._batch_seconds = Histogram(
            "segx_batch_seconds", "Time of one run of a model.", ["model"], registry=self._registry, buckets=_SECONDS
        )
        self._model = Gauge(
            "segx_model_info", "1 for each model served.", ["model", "provider", "precision"], registry=self._registry
        )
        self._depth = Gauge(
            "segx_queue_depth", "Decoded pictures waiting for an engine.", ["model"], registry=self._registry
        )
        self._inside = Gauge("segx_requests_inside", "Requests admitted and not yet answered.", registry=self._registry)
        self._held = Gauge("segx_bytes_held", "Bytes of bodies and pictures held.", registry=self._registry)

    def request(self, route: str, status: int) -> None:
        """Count one answer."""
        self._requests.labels(route, str(status)).inc()

    def shed(self, reason: str) -> None:
        """Count one request that was refused or dropped."""
        self._shed.labels(reason).inc()

    def duration(self, seconds: float) -> None:
        """Record how long one /segment request took."""
        self._duration.observe(seconds)

    def stages(self, timing: Timing) -> None:
        """Record the stages of one picture that it went through."""
        self._queue.observe(timing.queue)
        for histogram, seconds in (
            (self._decode, timing.decode),
            (self._run, timing.run),
            (self._encode, timing.encode),
        ):
            if seconds:
                histogram.observe(seconds)

    def model(
        self, name: str, provider: str, precision: str, depth: Callable[[], float]
    ) -> Callable[[int, float], None]:
        """Announce a model; returns what its engine calls with (pictures, seconds) after every run."""
        self._model.labels(name, provider, precision).set(1)
        self._depth.labels(name).set_function(depth)
        pictures, batch, seconds = (
            self._pictures.labels(name),
            self._batch.labels(name),
            self._batch_seconds.labels(name),
        )

        def ran(count: int, took: float) -> None:
            pictures.inc(count)
            batch.observe(count)
            seconds.observe(took)

        return ran

    def admission(self, requests: Callable[[], float], held: Callable[[], float]) -> None:
        """Say where the number of requests and bytes inside can be read."""
        self._inside.set_function(requests)
        self._held.set_function(held)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
