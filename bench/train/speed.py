"""Pictures a second of `segx train` beside a plain loop, in turns. Run from the repository root:

    python -m bench.train.speed --data DATA [--steps 6] [--rounds 7] [--json bench/train/speed.json]

Every contestant is a process tree of its own (speed_worker.py) that stands still, stopped by a signal, unless it is its
turn; so what it loads ahead is paid for in its own turns. Ratios are paired within a round. By the clock they mean
something on a machine that does nothing else; by processor time also on a busy one. Knows nothing of how either trains.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import Any

from segx_core import atomic
from segx_core.machine import describe

RESULT = Path(__file__).with_name("speed.json")
NETWORKS: dict[str, dict[str, Any]] = {
    "FPN, EfficientNet-Lite0": {"model": "fpn", "encoder": "efficientnet_lite0", "decoder_channels": 128},
    "U-Net, ResNet18": {"model": "unet", "encoder": "resnet18"},
}
LOSSES = ("ce", "ce + 0.5*dice")
WAYS: dict[str, dict[str, Any]] = {
    "segx": {"way": "segx"},
    "plain, 2 loaders": {"way": "plain", "loaders": 2},
    "plain, no loaders": {"way": "plain", "loaders": 0},
    "plain, 2 loaders, 1 thread": {"way": "plain", "loaders": 2, "threads": 1},
}
BASE = "plain, 2 loaders"  # the usual way, which ratios are to


class Contestant:
    """One process tree, standing still between its turns."""

    def __init__(self, settings: dict[str, Any]) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.train.speed_worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self._answer()  # it has warmed up
        os.killpg(self.process.pid, signal.SIGSTOP)

    def turn(self, steps: int) -> dict[str, float]:
        """Pictures a second of so many steps, by the clock and by processor time."""
        os.killpg(self.process.pid, signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        answer = self._answer()
        os.killpg(self.process.pid, signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """End the tree."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a contestant ended with status {self.process.wait()}; what it said stands above")
        answer: dict[str, float] = json.loads(line)
        return answer


def main() -> None:
    """All networks and losses, then the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="with masks of class indices, such as CamVid")
    parser.add_argument("--steps", type=int, default=6, help="a turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, help="of every process that is not told; torch's own number if left out")
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    report = {
        "steps_a_turn": options.steps,
        "rounds": options.rounds,
        "threads": options.threads,
        "batch": 8,
        "size": [352, 480],
        "compared_with": BASE,
        "machine": describe(),
        "versions": {name: version(name) for name in ("torch", "torchvision", "opencv-python")},
        "results": [
            {"network": name, "loss": loss, "ways": compare({**network, "loss": loss}, options)}
            for name, network in NETWORKS.items()
            for loss in LOSSES
        ],
    }
    atomic.write_text(options.json, json.dumps(report, indent=2) + "\n")


def compare(settings: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Quartiles of pictures a second of each way, and of its ratio to the usual one in the same round."""
    running: dict[str, Contestant] = {}
    rounds: list[dict[str, dict[str, float]]] = []
    try:
        for name, way in WAYS.items():
            running[name] = Contestant({"threads": options.threads, **settings, **way, "data": options.data})
        for turn in range(options.rounds):
            order = [*running][turn % len(running) :] + [*running][: turn % len(running)]
            rounds.append({name: running[name].turn(options.steps) for name in order})
    finally:
        for one in running.values():
            one.close()
    result: dict[str, Any] = {}
    for name in WAYS:
        result[name] = {}
        for clock in ("wall", "cpu"):
            result[name][f"{clock}_pictures_per_second"] = quartiles([one[name][clock] for one in rounds])
            result[name][f"{clock}_ratio"] = quartiles([one[name][clock] / one[BASE][clock] for one in rounds])
    print(json.dumps({**settings, "ways": result}, indent=2), flush=True)
    return result


def quartiles(values: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    found = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return [round(value, 3) for value in found]


if __name__ == "__main__":
    main()
