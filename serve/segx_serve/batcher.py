"""Which waiting pictures run together: only those of one size, oldest first, and never waiting while an engine idles.

Work-conserving: an idle engine takes what is there. Under load the queue fills while engines run, so batches grow by
themselves; a timer would only add latency (it can be asked for, where launching a batch is dear).
It knows nothing of running: it hands out lists of jobs.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from segx_serve.job import Job

Shape = tuple[int, int]


class Batcher:
    """The queue between the decoders and the engines of one model.

    Args:
        consumers: engines that take from it. Waiting pictures are shared out among them.
        max_batch: most pictures in one batch.
        max_pixels: most pixels in one batch; a single larger picture still runs alone.
        max_wait: seconds the oldest picture may wait for a fuller batch.
    """

    def __init__(self, consumers: int, max_batch: int, max_pixels: int, max_wait: float = 0.0) -> None:
        self._changed = threading.Condition()
        self._groups: dict[Shape, deque[tuple[int, Job]]] = {}  # each job with its number in order of arrival
        self._count = 0
        self._waiting = 0
        self._closed = False
        self._consumers = consumers
        self._max_batch = max_batch
        self._max_pixels = max_pixels
        self._max_wait = max_wait

    def __len__(self) -> int:
        return self._waiting

    def put(self, job: Job) -> None:
        """Queue a decoded job."""
        with self._changed:
            self._groups.setdefault(job.shape, deque()).append((self._count, job))
            self._count += 1
            self._waiting += 1
            if self._max_wait:
                # The one engine that is woken may go on waiting for its own size: let all look.
                self._changed.notify_all()
            else:
                self._changed.notify()

    def take(self) -> list[Job] | None:
        """Wait for work: jobs of one size, or None once closed and empty."""
        with self._changed:
            while True:
                if not self._groups:
                    if self._closed:
                        return None
                    self._changed.wait()
                    continue
                shape = min(self._groups, key=lambda size: self._groups[size][0][0])
                group = self._groups[shape]
                limit = max(1, min(self._max_batch, self._max_pixels // (shape[0] * shape[1])))
                if self._max_wait and len(group) < limit and not self._closed:
                    rest = group[0][1].since + self._max_wait - time.perf_counter()
                    if rest > 0:
                        self._changed.wait(rest)
                        continue
                share = -(-len(group) // self._consumers)
                return self._pop(shape, min(limit, share))

    def close(self) -> None:
        """Let engines finish what is queued and then end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _pop(self, shape: Shape, count: int) -> list[Job]:
        group = self._groups[shape]
        jobs = [group.popleft()[1] for _ in range(count)]
        if not group:
            del self._groups[shape]
        self._waiting -= count
        if self._groups:
            self._changed.notify()
        return jobs
