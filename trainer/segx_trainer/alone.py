"""Keeps a run folder to one process. What is written there is others' business."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from segx_core.errors import SetupError


@contextmanager
def alone_in(run: Path) -> Iterator[None]:
    """Hold the run folder for this process."""
    lock = filelock.FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise SetupError(
            f"{run} to myself", "another process training there", "Wait for it, or choose another --out."
        ) from None
    except OSError as error:
        raise SetupError(
            f"to write into {run}", error.strerror or str(error), "Choose another --out or mend its permissions."
        ) from error
    try:
        yield
    finally:
        lock.release()
