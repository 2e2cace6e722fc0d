"""The whole serving bench with one command; writes bench/serve/results.json. What it needs stands in README.md.

    python -m bench.serve.run [--only tiny,sim,real,real256,abuse,conformance,soak,memory] [--quick]

Each part takes the place of the same part in results.json and leaves the others, so that a long run can be done in
pieces; on another machine the file starts anew. Raw windows go to the log folder, medians and ratios into the file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.serve import contestants, places
from bench.serve.abuse import abuse
from bench.serve.bench import measure
from bench.serve.memory import memory
from bench.serve.report import ceiling, summarise, table
from bench.serve.running import offers, quit_on_sigterm, start, stop
from bench.serve.soak import soak
from segx_core import atomic, machine

RESULT = Path(__file__).with_name("results.json")
REFERENCE = "fastapi"
PARTS = ("tiny", "sim", "real", "real256", "abuse", "conformance", "soak", "memory")
OURS = ("segx", "segx_w2", "segx_inproc")
CONNECTIONS = {"tiny": [1, 8, 32], "sim": [32], "real": [1, 8], "real256": [1, 8]}
ABUSED = (*OURS[:2], "fastapi", "lit", "bento", "mlserver", "pytriton", "triton_py", "robyn")


@dataclass(frozen=True)
class Effort:
    """How much of it."""

    rounds: int
    seconds: int
    soak_minutes: float
    requests: int


FULL = Effort(rounds=5, seconds=3, soak_minutes=10, requests=50_000)
QUICK = Effort(rounds=2, seconds=2, soak_minutes=1.5, requests=10_000)


def main() -> None:
    """Run the parts that were asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--names", help="contestants of the tables and of abuse, in place of all")
    parser.add_argument("--quick", action="store_true", help="to see whether all works; the figures are noisy")
    given = parser.parse_args()
    wanted = given.only.split(",")
    for part in wanted:
        if part not in PARTS:
            sys.exit(f"No part '{part}'. Known: {', '.join(PARTS)}.")
    quit_on_sigterm()
    effort = QUICK if given.quick else FULL
    names = tuple(given.names.split(",")) if given.names else ()
    for part in wanted:
        print(f"== {part}", flush=True)
        record(part, effort, runs(effort, names)[part]())


def runs(effort: Effort, names: tuple[str, ...]) -> dict[str, Callable[[], Any]]:
    """Part -> what does it."""
    tables: dict[str, Callable[[], Any]] = {
        workload: partial(table_of, workload, effort, names) for workload in CONNECTIONS
    }
    return tables | {
        "abuse": lambda: [told(abuse(name)) for name in names or ABUSED],
        "conformance": conformance,
        "soak": lambda: told(soak(effort.soak_minutes, options=("--workers", "2"))),
        "memory": lambda: [told(memory(name, effort.requests)) for name in OURS[:2]],
    }


def table_of(workload: str, effort: Effort, names: tuple[str, ...]) -> dict[str, Any]:
    """One table: raw windows to the log folder, the summary back."""
    chosen = contestants.chosen(",".join(names or (*OURS, *contestants.PEERS)))
    chosen = {name: one for name, one in chosen.items() if workload != "sim" or one.simulates}
    rows = []
    with (places.logs() / f"windows_{workload}.jsonl").open("w") as log:
        for row in measure(chosen, workload, CONNECTIONS[workload], effort.rounds, effort.seconds):
            rows.append(asdict(row))
            log.write(json.dumps(rows[-1]) + "\n")
    result: dict[str, Any] = {"reference": REFERENCE, "seconds_per_window": effort.seconds}
    if workload == "sim":
        result["batched_ceiling_rps"] = round(ceiling(), 1)
    result["rows"] = summarise(rows, REFERENCE)
    result["absent"] = sorted(set(chosen) - {row["name"] for row in rows})
    print(table(result["rows"]), flush=True)
    return result


def conformance() -> dict[str, Any]:
    """The stock clients against `segx serve`; gRPC where this segx has it."""
    port = 9310
    grpc = offers("--grpc-port")
    # Shared memory regions are management: it must be opened for them.
    options = (*(("--admin",) if offers("--admin") else ()), *(("--grpc-port", str(port + 1)) if grpc else ()))
    contestant = contestants.segx(*options)
    server = start("conformance", contestant, "tiny", port)
    if server is None:
        return {"error": "did not start"}
    command = [places.python_of("clients"), "-m", "bench.serve.conformance", f"127.0.0.1:{port}", "tiny"]
    if grpc:
        command += ["--grpc", f"127.0.0.1:{port + 1}"]
    try:
        done = subprocess.run(
            command,
            cwd=places.ROOT,
            env={**os.environ, "PYTHONPATH": str(places.ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        stop(server)
    print(done.stdout, done.stderr[-2000:])
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith(("OK", "FAIL"))]
    return {
        "grpc": grpc,
        "passed": sum(line[0] == "OK" for line in lines),
        "failed": [" ".join(line[1].split()) for line in lines if line[0] == "FAIL"],
        "exit_code": done.returncode,
    }


def told(result: dict[str, Any]) -> dict[str, Any]:
    """Print it and hand it on."""
    print(json.dumps(result), flush=True)
    return result


def record(part: str, effort: Effort, result: Any) -> None:
    """Put one part into results.json."""
    document: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    here = machine.describe()
    if document.get("machine") != here:
        document = {"machine": here, "parts": {}}
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    document["parts"][part] = {"when": when, "quick": effort == QUICK, "result": result}
    document["parts"] = {name: document["parts"][name] for name in PARTS if name in document["parts"]}
    atomic.write_text(RESULT, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
