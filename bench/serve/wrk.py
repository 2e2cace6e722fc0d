"""One window of closed-loop load by wrk, read from its one line of JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass

from bench.serve import places
from bench.serve.wire import Wire


@dataclass(frozen=True)
class Window:
    """What wrk counted."""

    good: int
    """Answers below 400."""
    bad: int
    """Other statuses, timeouts, broken connections."""
    seconds: float
    p50_ms: float
    p99_ms: float


def load(wire: Wire, workload: str, port: int, connections: int, seconds: int) -> Window:
    """Send the workload's pictures over `connections` connections, each waiting for its answer.

    Raises:
        RuntimeError: wrk did not run to its end.
    """
    files = ",".join(str(path) for path in places.pictures(workload))
    address = f"http://127.0.0.1:{port}"
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", places.HERE / "wrk.lua", address],
        env={**os.environ, **wire.environment(), "BODY_FILES": files},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^JSON (.*)$", done.stdout, re.MULTILINE)
    if not found:
        raise RuntimeError(f"wrk said: {done.stdout[-300:]} {done.stderr[-300:]}")
    said = json.loads(found[1])
    bad = said["status"] + said["read"] + said["write"] + said["timeout"] + said["connect"]
    good = said["requests"] - said["status"]
    return Window(good, bad, said["us"] / 1e6, said["p50_us"] / 1e3, said["p99_us"] / 1e3)
