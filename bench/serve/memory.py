"""Does the service grow? PSS of its whole tree over 50,000 requests; one JSON line.

    python -m bench.serve.memory [--names segx] [--requests 50000]

Load is wrk's on the tiny model, in windows; PSS is read after each. The first fifth of the requests warms up
allocators and is left out of the trend (trend.py).
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from bench.serve import processes, wrk
from bench.serve.contestants import chosen
from bench.serve.running import quit_on_sigterm, start, stop
from bench.serve.trend import growth

WINDOW, CONNECTIONS, WARM_SHARE = 1, 16, 0.2


def main() -> None:
    """Print a line a contestant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", default="segx")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--port", type=int, default=9340)
    given = parser.parse_args()
    quit_on_sigterm()
    for name in given.names.split(","):
        print(json.dumps(memory(name, given.requests, given.port)), flush=True)


def memory(name: str, requests: int = 50_000, port: int = 9340) -> dict[str, Any]:
    """The growth of one contestant."""
    server = start(name, chosen(name)[name], "tiny", port)
    if server is None:
        return {"name": name, "error": "did not start"}
    points: list[tuple[float, float]] = []
    good = bad = 0
    try:
        while good < requests:
            seen = wrk.load(server.contestant.wire, "tiny", port, CONNECTIONS, WINDOW)
            if not seen.good:
                return {"name": name, "requests": good, "error": "answers nothing any more"}
            good, bad = good + seen.good, bad + seen.bad
            points.append((good, processes.pss(server.pid) / 2**20))
    finally:
        stop(server)
    late = [point for point in points if point[0] >= WARM_SHARE * requests]
    return {
        "name": name,
        "requests": good,
        "errors": bad,
        "pss_mib_first": round(points[0][1], 1),
        "pss_mib_after_warm_up": round(late[0][1], 1),
        "pss_mib_last": round(points[-1][1], 1),
        "growth_mib": round(growth(late), 2),
        "samples": len(points),
    }


if __name__ == "__main__":
    main()
