"""Are the answers right? Every mask of every contestant, under concurrency, against the same work done in-process.

    python -m bench.serve.verify --workload tiny --names segx,fastapi

On `tiny` and `real256` the pictures have the network's own size, so everybody owes the same mask. One JSON line a
contestant; exit 1 where a mask differs in more than a pixel in a thousand (two JPEG decoders may differ in the last
bit of a pixel), or an answer was not 200.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bench.serve import places
from bench.serve.common import SIDE, Work
from bench.serve.contestants import PEERS, chosen
from bench.serve.running import Server, quit_on_sigterm, start, stop

THREADS, EACH, ALLOWED = 8, 12, 0.001


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=("tiny", "real256", "sim"), default="tiny")
    parser.add_argument("--names", default=",".join(("segx_inproc", *PEERS)))
    parser.add_argument("--port", type=int, default=9300)
    given = parser.parse_args()
    quit_on_sigterm()
    good = True
    for name, contestant in chosen(given.names).items():
        server = start(name, contestant, given.workload, given.port)
        if server is None:
            line: dict[str, object] = {"name": name, "error": "did not start"}
        else:
            try:
                wrong = verify(server)
            finally:
                stop(server)
            line = {"name": name, "workload": given.workload, "answers": THREADS * EACH, "wrong": len(wrong)}
            if wrong:
                line["first"] = wrong[0]
        good = good and line.get("wrong") == 0
        print(json.dumps(line), flush=True)
    return 0 if good else 1


def verify(server: Server) -> list[str]:
    """What was wrong with the answers, a line each."""
    pictures = [path.read_bytes() for path in places.pictures(server.workload)]
    work = Work(server.workload, SIDE[server.workload], threads=1, spinning=False, max_batch=1, wait_ms=0, port=0)
    session = work.session()
    expected = [np.frombuffer(work.one(session, picture), np.uint8) for picture in pictures]

    def one(turn: int) -> str:
        index = turn % len(pictures)
        answer = server.post(pictures[index])
        if answer.status != 200:
            return f"status {answer.status} {answer.error}"
        mask = np.frombuffer(server.contestant.wire.mask(answer.body, expected[index].size), np.uint8)
        if mask.size != expected[index].size:
            return f"{mask.size} bytes instead of {expected[index].size}"
        differing = float((mask != expected[index]).mean())
        return f"{differing:.4%} of the pixels of picture {index} differ" if differing > ALLOWED else ""

    with ThreadPoolExecutor(THREADS) as pool:
        return [problem for problem in pool.map(one, range(THREADS * EACH)) if problem]


if __name__ == "__main__":
    sys.exit(main())
