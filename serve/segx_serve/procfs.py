"""What a process uses, as Linux tells it. Elsewhere, and of processes that are gone, nothing is known: zeros."""

from __future__ import annotations

import os
from pathlib import Path


def usage(pid: int) -> tuple[int, float]:
    """(resident bytes, processor seconds) of a process so far."""
    folder = Path(f"/proc/{pid}")
    try:
        resident = int((folder / "statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        # The name in parentheses may hold anything; numbers are counted behind it.
        fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        return resident, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0, 0.0
