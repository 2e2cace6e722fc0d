"""What a tree of processes costs: CPU time with its dead children, memory, and how busy the whole machine is. Linux."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True)
class Stat:
    """What /proc says of one process."""

    pid: int
    parent: int
    session: int
    state: str
    cpu: float
    """Seconds of itself and of its children that ended and were waited for."""


def stat(pid: int) -> Stat | None:
    """One process, None where it has ended."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except GONE:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold blanks and brackets
    return Stat(pid, int(fields[1]), int(fields[3]), fields[0], sum(int(value) for value in fields[11:15]) / TICK)


def tree(root: int) -> list[int]:
    """The process and all below it that live, the root first, then in order of start."""
    below: dict[int, list[int]] = defaultdict(list)
    alive = set()
    for found in everything():
        below[found.parent].append(found.pid)
        alive.add(found.pid)
    members = [root] if root in alive else []
    for member in members:  # grows while it is walked
        members.extend(sorted(below[member]))
    return members


def everything() -> Iterator[Stat]:
    """Every process that lives."""
    for folder in PROC.iterdir():
        if folder.name.isdigit() and (found := stat(int(folder.name))) and found.state != "Z":
            yield found


def cpu(root: int) -> float:
    """CPU seconds that a tree has used so far: never falls while its members wait for their children."""
    return sum(found.cpu for pid in tree(root) if (found := stat(pid)))


def command(pid: int) -> str:
    """The command line, empty where the process has ended."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except GONE:
        return ""


def rss(root: int) -> int:
    """Resident bytes of a tree; shared pages count in every process."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(*GONE):
            total += int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE
    return total


def pss(root: int) -> int:
    """Bytes of a tree, each shared page split among those who share it."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(*GONE):
            for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def busy() -> float:
    """CPU seconds that the whole machine has worked so far."""
    values = [int(value) for value in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:8]]
    user, nice, system, _, _, irq, softirq = values
    return (user + nice + system + irq + softirq) / TICK


def end(root: int, patience: float = 8) -> None:
    """SIGTERM to the root, SIGKILL to whatever is left after `patience` seconds of its tree and its session.

    The session, because the children of a root that died are in nobody's tree.
    """
    members = {*tree(root), *(found.pid for found in everything() if found.session == root)}
    with contextlib.suppress(ProcessLookupError):
        os.kill(root, signal.SIGTERM)
    until = time.monotonic() + patience
    while time.monotonic() < until and any(is_alive(pid) for pid in members):
        time.sleep(0.05)
    for pid in members:
        if is_alive(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Neither gone nor a zombie."""
    found = stat(pid)
    return found is not None and found.state != "Z"


class Peak:
    """The highest resident size of a tree while a block runs, and the growth over its beginning."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = rss(root)
        self.peak = self.before

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, rss(self._root))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth_mib(self) -> int:
        """MiB above the beginning."""
        return round((self.peak - self.before) / 2**20)
