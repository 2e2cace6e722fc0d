"""Runs the command and its peers as processes of one thread, and keeps account of the processor time they took.

A ledger is a JSON file with the seconds of every attempt, so that a killed and resumed training counts in full. Knows
nothing of what runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from segx_core import atomic

_LOOK_EVERY = 0.2  # seconds
_NOTE_EVERY = 10.0  # seconds between writes of the ledger: what a kill of both processes loses of the account


class FailedError(Exception):
    """A process ended with another status than 0; the text is the end of what it said."""


def segx(*words: object) -> list[str]:
    """The command line of `segx WORDS...` in this environment."""
    return [sys.executable, "-m", "segx", *map(str, words)]


def run(command: Sequence[str], log: Path, ledger: Path | None = None, allowed: Sequence[int] = (0,)) -> int:
    """Run `command` with one thread, its words appended to `log`; returns its status.

    Args:
        command: program and arguments.
        log: both streams go there.
        ledger: gains the processor seconds of the process and of the children it waited for.
        allowed: statuses that are no failure.

    Raises:
        FailedError: any other status.
    """
    before = attempts(ledger) if ledger else []
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        began = output.tell()
        child = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        try:
            seconds, status = _watch(child, before, ledger)
        except KeyboardInterrupt:  # the terminal told the child as well; it saves first
            child.wait()
            raise
    if ledger:
        _note(ledger, [*before, seconds])
    if status not in allowed:
        with log.open("rb") as text:
            text.seek(began)
            said = text.read().decode(errors="replace").strip().splitlines()[-8:]
        raise FailedError(f"status {status} of: {' '.join(command)}\n" + "\n".join(said))
    return status


def attempts(ledger: Path) -> list[float]:
    """Processor seconds of each attempt so far."""
    return list(json.loads(ledger.read_text())["cpu_seconds"]) if ledger.is_file() else []


def cpu_minutes(ledger: Path) -> float:
    """Processor minutes of all attempts."""
    return sum(attempts(ledger)) / 60


def _watch(child: subprocess.Popen[bytes], before: list[float], ledger: Path | None) -> tuple[float, int]:
    """Wait for the process; its processor seconds and its status."""
    watched, noted = psutil.Process(child.pid), time.monotonic()
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime, child.returncode
        if ledger and time.monotonic() - noted > _NOTE_EVERY:
            _note(ledger, [*before, sum(watched.cpu_times()[:4])])  # user, system, and those of waited-for children
            noted = time.monotonic()
        time.sleep(_LOOK_EVERY)


def _note(ledger: Path, seconds: list[float]) -> None:
    atomic.write_text(ledger, json.dumps({"cpu_seconds": [round(value, 2) for value in seconds]}) + "\n")
