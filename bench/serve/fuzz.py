"""Hours of what the suite tries for seconds: torn pictures and rude requests, until something gives.

    python bench/serve/fuzz.py MODEL.onnx --minutes 30 --seed 1

Takes the generators of tests/serve/test_fuzz_pictures.py and test_fuzz_http.py, runs a supervised service on loopback,
and after every round holds it against what it was: same processes, nothing held, a good picture answered rightly. What
breaks it is written to --found and ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings
from PIL import Image

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from pathlib import Path
from segx_serve import Settings
from segx_serve.run import serve
serve([Path(sys.argv[2])], Settings(**json.loads(sys.argv[1])), provider="cpu", workers=2)
"""
LIMITS = {"port": 0, "read_timeout": 2, "max_pixels": 1_000_000, "max_queue": 8, "threads": 1}
SLOW = 5.0
"""Seconds for one small picture that mean a decoder was led astray."""


def main() -> int:
    """Fuzz until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="an ONNX model with its card")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="folder for what broke it")
    chosen = parser.parse_args()
    pictures, http = _tests("test_fuzz_pictures"), _tests("test_fuzz_http")
    print(f"seed {chosen.seed}")
    with tempfile.TemporaryDirectory() as folder, _Service(chosen.model, Path(folder) / "log") as service:
        try:
            seen = _until(time.monotonic() + 60 * chosen.minutes, chosen.seed, service, pictures, http)
        except AssertionError as error:
            chosen.found.mkdir(exist_ok=True)
            (chosen.found / "input").write_bytes(service.last)
            (chosen.found / "log").write_bytes(service.log.read_bytes())
            print(f"BROKEN: {error}; the input and the log are in {chosen.found}")
            return 1
    print(", ".join(f"{count} x {status}" for status, count in sorted(seen.items())))
    return 0


class _Service:
    """A supervised service, and what must not change about it."""

    def __init__(self, model: Path, log: Path) -> None:
        self.log = log
        self.last = b""
        port = _free_port()
        paths = os.pathsep.join(str(ROOT / part) for part in (".", "core", "serve"))
        with log.open("wb") as out:
            self._child = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, json.dumps({**LIMITS, "port": port}), str(model)],
                env={**os.environ, "PYTHONPATH": paths},
                stdout=out,
                stderr=out,
            )
        self.port = port
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        out_bytes = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)).save(out_bytes, "PNG")
        self.good = out_bytes.getvalue()
        self._wait(lambda: self._status("/v2/health/ready") == 200, "it became ready")
        self._mask = self.ask(self.good).content
        self._processes = self._now()
        self._memory = self._resident()

    def __enter__(self) -> _Service:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()
        self._child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(60)
        self._child.kill()

    def ask(self, body: bytes) -> httpx.Response:
        """One picture."""
        return self.client.post("/segment", content=body, headers={"Accept": "application/octet-stream"})

    def check(self) -> None:
        """It is as it was."""
        answer = self.ask(self.good)
        assert answer.content == self._mask, f"a good picture was answered {answer.status_code}"
        assert self._now() == self._processes, "a process ended"
        self._wait(self._empty, "everything was given back")
        grown = self._resident() - self._memory
        assert grown < 300 * 2**20, f"memory grew by {grown >> 20} MiB"
        assert b"Traceback" not in self.log.read_bytes(), "the log has a traceback"

    def _empty(self) -> bool:
        lines = self.client.get("/metrics").text.splitlines()
        held = [line for line in lines if line.startswith(("segx_requests_inside", "segx_bytes_held"))]
        return sum(float(line.split()[1]) for line in held) == 0

    def _status(self, path: str) -> int:
        with contextlib.suppress(httpx.TransportError):
            return self.client.get(path).status_code
        return 0

    def _now(self) -> set[int]:
        return {one.pid for one in psutil.Process(self._child.pid).children()}

    def _resident(self) -> int:
        return sum(one.memory_info().rss for one in psutil.Process(self._child.pid).children())

    @staticmethod
    def _wait(holds: Any, what: str) -> None:
        give_up = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < give_up, f"a minute passed before {what}"
            time.sleep(0.05)


def _until(end: float, first: int, service: _Service, pictures: ModuleType, http: ModuleType) -> Counter[int]:
    seen: Counter[int] = Counter()
    shape = settings(
        deadline=None, max_examples=300, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    number = first
    while time.monotonic() < end:

        @seed(number)
        @shape
        @given(pictures.torn())
        def torn(file: tuple[str, bytes]) -> None:
            service.last = file[1]
            began = time.monotonic()
            status = service.ask(file[1]).status_code
            seen[status] += 1
            assert status in (200, 400, 413, 415, 503), f"a torn {file[0]} was answered {status}"
            assert time.monotonic() - began < SLOW, f"a torn {file[0]} took {time.monotonic() - began:.1f} s"

        @seed(number)
        @shape
        @given(http.clients(service.good))
        def rude(client: Any) -> None:
            service.last = client.stream
            for status in http.meet(service.port, client):
                seen[status] += 1
                assert status < 500 or status == 503, f"a rude client was answered {status}"

        torn()
        service.check()
        rude()
        service.check()
        number += 1
    return seen


def _tests(name: str) -> ModuleType:
    """A module of the suite, for its generators."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "serve" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
