"""Peak memory of cross-entropy plus dice, forward and backward, beside SMP's two losses. Run from the repository root:

    python -m bench.train.memory [--shape 4 150 512 512] [--json bench/train/memory.json]

Each contestant runs alone in a fresh process with one thread. `peak` is the largest resident size the kernel saw
(ru_maxrss) less the resident size before the inputs were made, `beyond_inputs` less that after logits and target were
there: gradient and everything between. So neither counts Python, torch and their libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.train.losses import batch, contestants
from segx_core import atomic
from segx_core.machine import describe

RESULT = Path(__file__).with_name("memory.json")


def main() -> None:
    """Every contestant in turn, then the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=4, default=[4, 150, 512, 512], metavar=("B", "K", "H", "W"))
    parser.add_argument("--json", type=Path, default=RESULT)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.alone, options.shape)))
        return
    rows = {name: started(name, options.shape) for name in contestants(options.shape[1])}
    report = {
        "shape": options.shape,
        "machine": describe(),
        "versions": {name: version(name) for name in ("torch", "segmentation-models-pytorch")},
        "results": rows,
    }
    atomic.write_text(options.json, json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def started(name: str, shape: list[int]) -> dict[str, Any]:
    """What a process of its own measured."""
    command = [sys.executable, "-m", "bench.train.memory", "--alone", name, "--shape", *map(str, shape)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=one_thread)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def measure(name: str, shape: list[int]) -> dict[str, Any]:
    """MiB of one forward and backward pass in this process."""
    pictures, classes, height, width = shape
    objective = contestants(classes)[name]()
    logits, target = batch(1, classes, 8, 8)
    objective(logits, target).backward()  # what is loaded and set up once
    before = resident()
    logits, target = batch(pictures, classes, height, width)
    given = resident()
    loss = objective(logits, target)
    loss.backward()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "logits_mib": round(logits.nbytes / 2**20),
        "peak_mib": round(peak - before),
        "beyond_inputs_mib": round(peak - given),
        "loss": round(loss.item(), 5),
    }


def resident() -> float:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
