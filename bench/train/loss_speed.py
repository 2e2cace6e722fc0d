"""Processor time of losses, forward and backward, in turns with one thread. Run from the repository root:

    python -m bench.train.loss_speed [--shape 8 11 352 480] [--rounds 7] [--json bench/train/loss_speed.json]

Ratios are paired within a round, so a machine that is busy with other things slows both sides.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench.train.losses import Objective, batch, plain, plain_ce, segx, smp
from segx_core import atomic
from segx_core.machine import describe

RESULT = Path(__file__).with_name("loss_speed.json")


def main() -> None:
    """Both layouts, then the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=4, default=[8, 11, 352, 480], metavar=("B", "K", "H", "W"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report = {
        "shape": options.shape,
        "rounds": options.rounds,
        "machine": describe(),
        "versions": {name: version(name) for name in ("torch", "segmentation-models-pytorch")},
        "results": {
            "planes": compare(options.shape, options.rounds, channels_last=False),
            "channels last": compare(options.shape, options.rounds, channels_last=True),
        },
    }
    atomic.write_text(options.json, json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def compare(shape: list[int], rounds: int, *, channels_last: bool) -> dict[str, Any]:
    """Milliseconds of processor time of each way, and its ratio to the one it is compared with."""
    pictures, classes, height, width = shape
    logits, target = batch(pictures, classes, height, width, channels_last=channels_last)
    ways: dict[str, tuple[Objective, str]] = {
        "segx ce + 0.5*dice": (segx("ce + 0.5*dice", classes), "plain torch ce + 0.5*dice"),
        "plain torch ce + 0.5*dice": (plain(), "plain torch ce + 0.5*dice"),
        "SMP ce + 0.5*dice": (smp(), "plain torch ce + 0.5*dice"),
        "segx ce": (segx("ce", classes), "torch ce"),
        "torch ce": (plain_ce(), "torch ce"),
    }
    taken = [{name: once(way, logits, target) for name, (way, _) in ways.items()} for _ in range(rounds + 1)][1:]
    return {
        name: {
            "cpu_ms": round(median(one[name] for one in taken), 1),
            "ratio": round(median(one[name] / one[other] for one in taken), 3),
            "compared_with": other,
        }
        for name, (_, other) in ways.items()
    }


def once(objective: Objective, logits: torch.Tensor, target: torch.Tensor) -> float:
    """Milliseconds of one forward and backward pass."""
    logits.grad = None
    began = time.process_time()
    objective(logits, target).backward()
    return 1000 * (time.process_time() - began)


if __name__ == "__main__":
    main()
