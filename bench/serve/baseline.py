"""The floor: what decoding and ONNX Runtime alone cost, with no server around them.

    python -m bench.serve.baseline --workload tiny --seconds 2

Cases: `floor` is the cheapest way known here to the same answer: simplejpeg, cv2's linear resize, the uint8 twin;
`floor_peers` is what every peer does between its HTTP parts: cv2.imdecode, NumPy, the float network. Each is run by
one process alone and by one process per core at once: cores share caches and often execution units, so that the same
work takes more CPU time when all of them are busy, and a server under load must be held against that. One JSON line
each. bench.py runs this between its servers' windows, so that floor and servers see the same machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from itertools import cycle
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from typing import Any

import cv2
import simplejpeg

from bench.serve import places
from bench.serve.common import SIDE, Work, open_session

NAMES = ("floor", "floor_peers")


def main() -> None:
    """Print one line a case and number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=("tiny", "real", "real256"), default="tiny")
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    for name in NAMES:
        for processes in sorted({1, len(os.sched_getaffinity(0))}):
            print(json.dumps(measure(name, given.workload, given.seconds, processes)), flush=True)


def measure(name: str, workload: str, seconds: float, processes: int) -> dict[str, object]:
    """One case by so many processes at once."""
    context = multiprocessing.get_context("fork")
    begin, answers = context.Barrier(processes), context.SimpleQueue()
    workers = [context.Process(target=loop, args=(name, workload, seconds, begin, answers)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    told: list[tuple[int, float, float]] = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    requests = sum(one[0] for one in told)
    return {
        "name": name,
        "processes": processes,
        "rps": round(sum(count / took for count, took, _ in told), 1),
        "cpu_ms": round(sum(cpu for _, _, cpu in told) / requests * 1e3, 4),
    }


def loop(name: str, workload: str, seconds: float, begin: Barrier, answers: SimpleQueue[Any]) -> None:
    """Put (requests, seconds, CPU seconds) of this process into `answers`."""
    case = build(name, workload)
    case()
    begin.wait()
    requests, cpu, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        case()
        requests += 1
    answers.put((requests, time.perf_counter() - began, time.process_time() - cpu))


def build(name: str, workload: str) -> Callable[[], object]:
    """The work of one request."""
    pictures = cycle([path.read_bytes() for path in places.pictures(workload)])
    side = SIDE[workload]
    if name == "floor_peers":
        work = Work(workload, side, threads=1, spinning=False, max_batch=1, wait_ms=0, port=0)
        network = work.session()
        return lambda: work.one(network, next(pictures))
    cv2.setNumThreads(1)
    session = open_session(places.twin(workload), 1, spinning=False)

    def cheapest() -> bytes:
        picture = simplejpeg.decode_jpeg(next(pictures), "RGB")
        if picture.shape[:2] != (side, side):
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR)
        answer: bytes = session.run(["classmap"], {"image": picture[None]})[0].tobytes()
        return answer

    return cheapest


if __name__ == "__main__":
    main()
