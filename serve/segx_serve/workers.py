"""A few threads that do small pieces of work in the order they came. Leaner than an executor: no future a task.

It knows nothing of pictures. Tasks report their own failures; one that raises is our bug and is logged.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

Task = Callable[[], None]
_log = logging.getLogger("segx.serve")


class Workers:
    """`count` threads. `submit` never blocks: admission bounds how much is asked of them."""

    def __init__(self, count: int, name: str) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(count)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Have `task` done by some thread."""
        self._tasks.put(task)

    def stop(self, patience: float) -> None:
        """Finish what was submitted, then end the threads; one that takes longer than `patience` seconds is left."""
        for _ in self._threads:
            self._tasks.put(None)
        join(self._threads, patience)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:  # noqa: BLE001 - the thread must outlive the task
                _log.exception("a task failed outside its own error handling")


def join(threads: Sequence[threading.Thread], patience: float) -> None:
    """Wait up to `patience` seconds for all threads together. They are daemons, so one that hangs holds up no exit."""
    give_up = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, give_up - time.monotonic()))
        if thread.is_alive():
            _log.warning("%s did not end within %g s and is left behind", thread.name, patience)
