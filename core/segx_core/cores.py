"""How many processor cores there are for this process. Nothing else, so that asking loads no library."""

from __future__ import annotations

import os
import sys


def cores() -> int:
    """CPU cores this process may use."""
    # os.process_cpu_count comes with Python 3.13; a container's or taskset's share counts, not the whole machine.
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
