"""What one process counts while it works: plain numbers, kept on its event loop, so that it costs nearly nothing.

A snapshot is plain JSON; snapshots of several processes add up to one (`merge`). metrics.py shows them to Prometheus,
the Open Inference Protocol's statistics are read from them too. Knows nothing of either.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any

from segx_serve.job import Call, Job, Timing

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of every duration."""
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Upper bounds of the buckets of batch sizes."""
STAGES = ("queue", "decode", "run", "encode")

Snapshot = dict[str, Any]


class Histogram:
    """Counts by bucket, and the sum. A value on a bound belongs to the bucket below it, as Prometheus has it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def snapshot(self) -> Snapshot:
        """{"counts", "total"}: counts per bucket, not cumulative, one past the last bound at the end."""
        return {"counts": list(self.counts), "total": self.total}


class ModelTally:
    """What one version of one model did."""

    __slots__ = ("batch_seconds", "batch_size", "batches", "failed", "last", "nanoseconds", "pictures", "requests")

    def __init__(self) -> None:
        self.requests = 0
        """Requests answered with what they asked for."""
        self.failed = 0
        """Requests for this model answered with an error."""
        self.pictures = 0
        self.last = 0
        """Milliseconds since 1970 of the last picture."""
        self.nanoseconds = dict.fromkeys(("success", "fail", *STAGES), 0)
        """Sums over requests (success, fail) and over pictures (the stages)."""
        self.batches: dict[int, list[int]] = {}
        """Batch size -> [runs, nanoseconds]."""
        self.batch_size = Histogram(SIZES)
        self.batch_seconds = Histogram(SECONDS)

    def call(self, call: Call, seconds: float, fine: bool) -> None:
        """Count one request that is over, and the pictures in it that ran."""
        self.nanoseconds["success" if fine else "fail"] += int(seconds * 1e9)
        if fine:
            self.requests += 1
        else:
            self.failed += 1
        for job in call.jobs:
            if job.batch:
                self._picture(job)

    def _picture(self, job: Job) -> None:
        self.pictures += 1
        self.last = int(time.time() * 1000)
        timing, sums = job.timing, self.nanoseconds
        sums["queue"] += int(timing.queue * 1e9)
        sums["decode"] += int(timing.decode * 1e9)
        sums["run"] += int(timing.run * 1e9)
        sums["encode"] += int(timing.encode * 1e9)
        if job.first:
            self.batch_size.observe(job.batch)
            self.batch_seconds.observe(timing.run)
            entry = self.batches.setdefault(job.batch, [0, 0])
            entry[0] += 1
            entry[1] += int(timing.run * 1e9)

    def snapshot(self) -> Snapshot:
        """Everything as JSON."""
        return {
            "requests": self.requests,
            "failed": self.failed,
            "pictures": self.pictures,
            "last": self.last,
            "nanoseconds": dict(self.nanoseconds),
            "batches": {str(size): list(entry) for size, entry in self.batches.items()},
            "batch_size": self.batch_size.snapshot(),
            "batch_seconds": self.batch_seconds.snapshot(),
        }


class Tally:
    """The counts of one process."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = {}
        self._shed: dict[str, int] = {}
        self._duration = Histogram(SECONDS)
        self._stages = tuple(Histogram(SECONDS) for _ in STAGES)
        self._models: dict[tuple[str, str], ModelTally] = {}
        self._gauges: list[tuple[str, dict[str, str], Callable[[], float]]] = []

    def request(self, route: str, status: int) -> None:
        """Count one answer."""
        key = (route, status)
        self._requests[key] = self._requests.get(key, 0) + 1

    def shed(self, reason: str) -> None:
        """Count one request that was refused or dropped to stay healthy."""
        self._shed[reason] = self._shed.get(reason, 0) + 1

    def duration(self, seconds: float) -> None:
        """Record how long one request for a class map took."""
        self._duration.observe(seconds)

    def picture(self, timing: Timing) -> None:
        """Record the stages that one picture went through."""
        queue, decode, run, encode = self._stages
        queue.observe(timing.queue)
        if timing.decode:
            decode.observe(timing.decode)
        if timing.run:
            run.observe(timing.run)
        if timing.encode:
            encode.observe(timing.encode)

    def model(self, name: str, version: str) -> ModelTally:
        """Where the calls of one version of a model are counted; it outlives the model's removal."""
        found = self._models.get((name, version))
        if found is None:
            found = self._models[name, version] = ModelTally()
        return found

    def gauge(self, name: str, labels: dict[str, str], value: Callable[[], float]) -> None:
        """Say where a present value can be read. Equal names and labels of several processes are added up."""
        self._gauges.append((name, labels, value))

    def clear_gauges(self, *names: str) -> None:
        """Forget where the values of these names can be read."""
        self._gauges = [gauge for gauge in self._gauges if gauge[0] not in names]

    def snapshot(self) -> Snapshot:
        """Everything as JSON."""
        return {
            "requests": [[route, status, count] for (route, status), count in self._requests.items()],
            "shed": dict(self._shed),
            "duration": self._duration.snapshot(),
            "stages": {name: one.snapshot() for name, one in zip(STAGES, self._stages, strict=True)},
            "models": [[name, version, one.snapshot()] for (name, version), one in self._models.items()],
            "gauges": [[name, labels, value()] for name, labels, value in self._gauges],
        }


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Snapshots of several processes as one: everything added up, except `last`, of which the latest counts."""
    total = Tally().snapshot()
    requests: dict[tuple[str, int], int] = {}
    models: dict[tuple[str, str], Snapshot] = {}
    gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for one in snapshots:
        for route, status, count in one["requests"]:
            requests[route, status] = requests.get((route, status), 0) + count
        for name, version, counts in one["models"]:
            key = (name, version)
            models[key] = _add(models[key], counts) if key in models else counts
        for name, labels, value in one["gauges"]:
            place = (name, tuple(sorted(labels.items())))
            gauges[place] = gauges.get(place, 0.0) + value
        for part in ("shed", "duration", "stages"):
            total[part] = _add(total[part], one[part])
    total["requests"] = [[route, status, count] for (route, status), count in requests.items()]
    total["models"] = [[name, version, counts] for (name, version), counts in models.items()]
    total["gauges"] = [[name, dict(labels), value] for (name, labels), value in gauges.items()]
    return total


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, dict):
        keys = [*left, *(key for key in right if key not in left)]
        return {
            key: max(left[key], right[key])
            if key == "last" and key in left and key in right
            else _add(left[key], right[key])
            if key in left and key in right
            else left.get(key, right.get(key))
            for key in keys
        }
    if isinstance(left, list):
        return [_add(one, other) for one, other in zip(left, right, strict=True)]
    return left + right
