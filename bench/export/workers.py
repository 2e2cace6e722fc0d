"""Starts worker.py for each runtime and talks to it. Knows the protocol; nothing of what is measured with it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.serve import places


class WorkerError(Exception):
    """A runtime could not do what was asked; the text says why in its own words."""


class Worker:
    """One process of one runtime."""

    def __init__(self, python: str, runtime: str) -> None:
        environment = {**os.environ, "CI": "true"}  # OpenVINO's tools send no usage figures from continuous integration
        self._process = subprocess.Popen(
            [python, "-m", "bench.export.worker", runtime],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=places.ROOT,
            env=environment,
        )

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises:
            WorkerError: the runtime raised, or its process died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        plain = {key: str(value.resolve()) if isinstance(value, Path) else value for key, value in details.items()}
        try:
            print(json.dumps({"do": do, **plain}), file=self._process.stdin, flush=True)
        except BrokenPipeError as error:
            raise WorkerError(f"the worker ended with code {self._process.wait()}") from error
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"the worker ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextlib.contextmanager
def workers() -> Iterator[dict[str, Worker]]:
    """A worker for each runtime that is there: "ort" and "torch" in this environment, "openvino" in its own."""
    pythons = {"ort": sys.executable, "torch": sys.executable, "openvino": places.python_of("openvino")}
    for runtime, python in pythons.items():
        if not Path(python).is_file():
            print(f"{runtime} is left out: no {python}; see bench/export/README.md", file=sys.stderr)
    running = {runtime: Worker(python, runtime) for runtime, python in pythons.items() if Path(python).is_file()}
    try:
        yield running
    finally:
        for worker in running.values():
            worker.close()
