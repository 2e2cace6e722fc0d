"""Side by side: all contestants up at once, windows of wrk load interleaved round by round, JSON lines out.

    python -m bench.serve.bench --workload tiny --names segx,fastapi,triton_py --connections 1,8,32 > x.jsonl

A line is one window: requests/s, p50 and p99, CPU milliseconds of the server's whole process tree per good request
(kernel time and ended children included), PSS, errors, and `other`, the cores that unrelated processes kept busy
meanwhile. Floors (baseline.py) are measured once a round, under the names `floor` and `floor_peers`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from bench.serve import places, processes, wrk
from bench.serve.contestants import PEERS, Contestant, chosen
from bench.serve.running import Server, quit_on_sigterm, servers


@dataclass(frozen=True)
class Row:
    """One window."""

    workload: str
    name: str
    connections: int
    """For a floor the number of processes at work."""
    round: int
    rps: float
    cpu_ms: float
    p50: float = 0.0
    p99: float = 0.0
    bad: int = 0
    server_cores: float = 0.0
    client_cores: float = 0.0
    other: float = 0.0
    pss_mib: int = 0
    processes: int = 1
    start_seconds: float = 0.0


def main() -> None:
    """Print a line a window."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=tuple(places.PICTURES_OF), default="tiny")
    parser.add_argument("--names", default=",".join(("segx_inproc", *PEERS)))
    parser.add_argument("--connections", default="1,8,32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--port", type=int, default=8930)
    given = parser.parse_args()
    quit_on_sigterm()
    counts = [int(count) for count in given.connections.split(",")]
    for row in measure(chosen(given.names), given.workload, counts, given.rounds, given.seconds, given.port):
        print(json.dumps(asdict(row)), flush=True)


def measure(
    contestants: dict[str, Contestant], workload: str, counts: list[int], rounds: int, seconds: int, port: int = 8930
) -> Iterator[Row]:
    """Rows as they come."""
    with servers(contestants, workload, port) as up:
        for server in up.values():
            wrk.load(server.contestant.wire, workload, server.port, 8, 1)
        for turn in range(rounds):
            if workload != "sim":
                yield from floors(workload, turn, seconds)
            for count in counts:
                for server in up.values():
                    yield window(server, count, turn, seconds)


def window(server: Server, connections: int, turn: int, seconds: int) -> Row:
    """One contestant under load for `seconds`."""
    cpu, busy, client, began = processes.cpu(server.pid), processes.busy(), client_cpu(), time.monotonic()
    seen = wrk.load(server.contestant.wire, server.workload, server.port, connections, seconds)
    took = time.monotonic() - began
    cpu, client = processes.cpu(server.pid) - cpu, client_cpu() - client
    others = max(0.0, processes.busy() - busy - cpu - client)
    return Row(
        server.workload,
        server.name,
        connections,
        turn,
        rps=round(seen.good / seen.seconds, 1),
        cpu_ms=round(cpu / max(seen.good, 1) * 1e3, 4),
        p50=seen.p50_ms,
        p99=seen.p99_ms,
        bad=seen.bad,
        server_cores=round(cpu / took, 2),
        client_cores=round(client / took, 2),
        other=round(others / took, 2),
        pss_mib=round(processes.pss(server.pid) / 2**20),
        processes=len(processes.tree(server.pid)),
        start_seconds=server.start_seconds,
    )


def floors(workload: str, turn: int, seconds: int) -> Iterator[Row]:
    """What decode and run alone cost, in a process of its own with segx's interpreter."""
    command = (places.segx_python(), "-m", "bench.serve.baseline", "--workload", workload, "--seconds", str(seconds))
    environment = {**os.environ, "PYTHONPATH": f"{places.ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, cwd=places.ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    for line in done.stdout.splitlines():
        said = json.loads(line)
        yield Row(workload, said["name"], said["processes"], turn, rps=said["rps"], cpu_ms=said["cpu_ms"])


def client_cpu() -> float:
    """CPU seconds of ended children: wrk's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
