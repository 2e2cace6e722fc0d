"""What was counted, in Prometheus' text format. Holds no state: it shows a snapshot of tally.py."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from segx_serve.tally import SECONDS, SIZES, Snapshot

MEDIA_TYPE = CONTENT_TYPE_LATEST

_GAUGES = {
    "segx_queue_depth": "Decoded pictures waiting for an engine.",
    "segx_requests_inside": "Requests admitted and not yet answered.",
    "segx_bytes_held": "Bytes of bodies and pictures held.",
    "segx_model_info": "1 for each model served, in every front-end.",
    "segx_process_resident_bytes": "Resident memory by role; shared pages count in each process that has them.",
    "segx_process_cpu_seconds": "Processor time used by role, by the processes alive now.",
    "segx_processes": "Processes alive by role.",
    "segx_process_restarts": "Processes started again after they ended unasked, by role.",
    "segx_auth_failures": "Requests with no key or an unknown one.",
    "segx_gpu_memory_bytes": "GPU memory in use by this service's processes.",
}
_COUNTERS = {"segx_process_restarts", "segx_auth_failures", "segx_process_cpu_seconds"}


def text(snapshot: Snapshot) -> bytes:
    """Everything in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Shown(snapshot))
    return generate_latest(registry)


class _Shown(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        found = self._snapshot
        requests = CounterMetricFamily(
            "segx_requests", "Answered requests by route and status.", labels=["route", "status"]
        )
        for route, status, count in found["requests"]:
            requests.add_metric([route, str(status)], count)
        yield requests
        shed = CounterMetricFamily(
            "segx_shed", "Requests refused or dropped to stay healthy, by reason.", labels=["reason"]
        )
        for reason, count in found["shed"].items():
            shed.add_metric([reason], count)
        yield shed
        duration = HistogramMetricFamily("segx_request_seconds", "Time from a request's headers to its answer.")
        _add(duration, [], SECONDS, found["duration"])
        yield duration
        stages = HistogramMetricFamily("segx_stage_seconds", "Time in each stage of a picture.", labels=["stage"])
        for name, one in found["stages"].items():
            _add(stages, [name], SECONDS, one)
        yield stages
        yield from self._models()
        yield from self._gauges()

    def _models(self) -> Iterator[Metric]:
        labels = ["model", "version"]
        pictures = CounterMetricFamily("segx_pictures", "Pictures segmented.", labels=labels)
        size = HistogramMetricFamily("segx_batch_size", "Pictures run together.", labels=labels)
        seconds = HistogramMetricFamily("segx_batch_seconds", "Time of one run of a model.", labels=labels)
        for name, version, counts in self._snapshot["models"]:
            pictures.add_metric([name, version], counts["pictures"])
            _add(size, [name, version], SIZES, counts["batch_size"])
            _add(seconds, [name, version], SECONDS, counts["batch_seconds"])
        yield from (pictures, size, seconds)

    def _gauges(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, labels, value in self._snapshot["gauges"]:
            if name not in families:
                kind = CounterMetricFamily if name in _COUNTERS else GaugeMetricFamily
                families[name] = kind(name, _GAUGES[name], labels=sorted(labels))
            families[name].add_metric([labels[key] for key in sorted(labels)], value)
        yield from families.values()


def _add(family: HistogramMetricFamily, labels: list[str], bounds: tuple[float, ...], found: Snapshot) -> None:
    counts = list(accumulate(found["counts"]))
    edges = [*(f"{float(bound)}" for bound in bounds), "+Inf"]
    family.add_metric(labels, list(zip(edges, counts, strict=True)), found["total"])
