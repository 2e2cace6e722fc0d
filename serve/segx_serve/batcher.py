"""Which waiting pictures run together: only those of one size, oldest first, and never waiting while an engine idles.

Work-conserving: an idle engine takes what is there, and as many engines work as there is work worth waking them for.
Under load the queue fills while engines run, so batches grow by themselves; a timer would only add latency (it can be
asked for, where launching a batch is dear).
It knows nothing of running: it hands out lists of jobs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from segx_serve.job import Work

Shape = tuple[int, int]
W = TypeVar("W", bound=Work)
# Seconds of work that are worth waking a further engine for.
_WORTH = 0.001


class Batcher(Generic[W]):
    """The queue between the decoders and the engines of one model.

    Args:
        consumers: engines that take from it.
        max_batch: most pictures in one batch.
        max_pixels: most pixels in one batch; a single larger picture still runs alone.
        max_wait: seconds the oldest picture may wait for a fuller batch.
        most: seconds that one batch may take. On a CPU a batch runs no faster than its pictures one by one, so
            batches only make pictures wait for each other; where a picture takes microseconds they save hand-overs.
        shares: whether waiting pictures are shared out among idle engines; else each takes what it can.
    """

    def __init__(
        self,
        consumers: int,
        max_batch: int,
        max_pixels: int,
        max_wait: float = 0.0,
        most: float = float("inf"),
        *,
        shares: bool = True,
    ) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._groups: dict[Shape, deque[tuple[int, W]]] = {}  # each job with its number in order of arrival
        self._count = 0
        self._waiting = 0
        self._idle = 0
        self._closed = False
        self._consumers = consumers
        self._max_batch = max_batch
        self._max_pixels = max_pixels
        self._max_wait = max_wait
        self._most = most
        self._shares = shares
        self._cost = 0.0  # seconds a pixel lately took; 0 until something ran
        self._pixels = 0  # of all pictures that wait

    def __len__(self) -> int:
        return self._waiting

    def put(self, job: W) -> None:
        """Queue a decoded job."""
        self.put_all((job,))

    def put_all(self, jobs: Iterable[W]) -> None:
        """Queue decoded jobs, waking no engine more often than needed."""
        with self._changed:
            for job in jobs:
                group = self._groups.get(job.shape)
                if group is None:
                    group = self._groups[job.shape] = deque()
                group.append((self._count, job))
                self._count += 1
                self._waiting += 1
                self._pixels += job.shape[0] * job.shape[1]
            # All idle: one must work. Some at work: another is woken only for more than it costs to wake it.
            if self._idle == self._consumers or (self._idle and self._worth(self._pixels)):
                if self._max_wait:
                    # The one engine that is woken may go on waiting for its own size: let all look.
                    self._changed.notify_all()
                else:
                    self._changed.notify()

    def take(self) -> list[W] | None:
        """Wait for work: jobs of one size, or None once closed and empty."""
        with self._changed:
            while True:
                if not self._groups:
                    if self._closed:
                        return None
                    self._wait(None)
                    continue
                shape = self._oldest()
                group = self._groups[shape]
                limit = max(1, min(self._max_batch, self._max_pixels // (shape[0] * shape[1])))
                if self._max_wait and len(group) < limit and not self._closed:
                    rest = group[0][1].since + self._max_wait - time.perf_counter()
                    if rest > 0:
                        self._wait(rest)
                        continue
                if self._cost:
                    limit = max(1, int(min(limit, self._most / (self._cost * shape[0] * shape[1]))))
                shared = self._shares and self._worth(len(group) * shape[0] * shape[1])
                share = -(-len(group) // self._consumers) if shared else len(group)
                return self._pop(shape, min(limit, share))

    def ran(self, pixels: int, seconds: float) -> None:
        """Learn how long pictures of so many pixels took together."""
        each = seconds / pixels
        # Follows a change within some ten runs, and is not led astray by one that was held up.
        self._cost = self._cost + 0.1 * (min(each, 4 * self._cost) - self._cost) if self._cost else each

    def brief(self, count: int, pixels: int) -> bool:
        """Whether so many more pictures are one batch of so little work that no engine need be woken for it."""
        if self._most == float("inf") or self._waiting or not self._cost:
            return False
        return count <= self._max_batch and pixels <= self._max_pixels and not self._worth(pixels)

    def _worth(self, pixels: int) -> bool:
        """Whether so many pixels are worth the work of several engines."""
        return not self._cost or pixels * self._cost > _WORTH

    def close(self) -> None:
        """Let engines finish what is queued and then end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self) -> list[W]:
        """Take everything that waits, to give it up."""
        with self._changed:
            jobs = [job for group in self._groups.values() for _, job in group]
            self._groups.clear()
            self._waiting = self._pixels = 0
            return jobs

    def _wait(self, seconds: float | None) -> None:
        self._idle += 1
        try:
            self._changed.wait(seconds)
        finally:
            self._idle -= 1

    def _oldest(self) -> Shape:
        if len(self._groups) == 1:
            return next(iter(self._groups))
        return min(self._groups, key=lambda size: self._groups[size][0][0])

    def _pop(self, shape: Shape, count: int) -> list[W]:
        group = self._groups[shape]
        jobs = [group.popleft()[1] for _ in range(count)]
        if not group:
            del self._groups[shape]
        self._waiting -= count
        self._pixels -= count * shape[0] * shape[1]
        if self._groups and self._idle and self._worth(self._waiting):
            self._changed.notify()
        return jobs
