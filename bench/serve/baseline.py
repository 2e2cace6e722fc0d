"""The floor: what decoding and ONNX Runtime alone cost in one process, with no server around them.

    python -m bench.serve.baseline --workload tiny --seconds 2

Cases: `floor` is the cheapest way known here to the same answer: simplejpeg, cv2's linear resize, the uint8 twin;
`floor_peers` is what every peer does between its HTTP parts: cv2.imdecode, NumPy, the float network. One JSON line a
case. bench.py runs this between its servers' windows, so that floor and servers see the same machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import cycle

import cv2
import simplejpeg

from bench.serve import places
from bench.serve.common import SIDE, Work, open_session


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=("tiny", "real", "real256"), default="tiny")
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    for name, case in cases(options.workload).items():
        requests, seconds, cpu = loop(case, options.seconds)
        line = {"name": name, "rps": round(requests / seconds, 1), "cpu_ms": round(cpu / requests * 1e3, 4)}
        print(json.dumps(line), flush=True)


def cases(workload: str) -> dict[str, Callable[[], object]]:
    """Name -> the work of one request."""
    pictures = cycle([path.read_bytes() for path in places.pictures(workload)])
    side = SIDE[workload]
    work = Work(workload, side, threads=1, spinning=False, max_batch=1, wait_ms=0, port=0)
    session = work.session()
    twin = open_session(places.twin(workload), 1, spinning=False)

    def cheapest() -> bytes:
        picture = simplejpeg.decode_jpeg(next(pictures), "RGB")
        if picture.shape[:2] != (side, side):
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR)
        answer: bytes = twin.run(["classmap"], {"image": picture[None]})[0].tobytes()
        return answer

    return {"floor": cheapest, "floor_peers": lambda: work.one(session, next(pictures))}


def loop(case: Callable[[], object], seconds: float) -> tuple[int, float, float]:
    """(requests, seconds, CPU seconds) of calling it for `seconds`."""
    case()
    requests, cpu, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        case()
        requests += 1
    return requests, time.perf_counter() - began, time.process_time() - cpu


if __name__ == "__main__":
    main()
