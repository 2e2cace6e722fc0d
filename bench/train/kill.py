"""Kills `segx train` again and again, resumes it, and asks whether the weights are those of a run left alone.

    python -m bench.train.kill [--kills 20] [--work WORK]

A tiny network on generated pictures, with everything on that changes while a run trains: the average of the weights,
accumulated gradients, a momentum term, an auxiliary head, strong augmentation. SIGKILL comes at random moments: every
fifth while the command starts, the others after it has written last.pt, which it does every second step, so that some
hit the writing itself. Compared bit for bit: both checkpoints, with optimizer and generators, and the validations.

Writes kill.json beside this file; the status is 1 where anything differs. On the CPU, where resuming is exact.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.train.processes import FailedError, segx
from segx_core import atomic, machine

HERE = Path(__file__).parent
WORDS = (
    "--model", "fpn", "--encoder", "test_resnet", "--encoder-weights", "none", "--size", "32x32", "--batch-size", "4",
    "--loss", "ce + 0.5*dice + momentum[mu=0.5] + 0.2*ema_consistency + 0.4*aux", "--optimizer", "sgd", "--lr", "0.02",
    "--augment", "strong", "--device", "cpu", "--set", "momentum=0", "--set", "ema=0.99", "--set", "accumulate=2",
    "--set", "save_every=2", "--set", "decoder_channels=64", "--set", "workers=0", "--set", "validate_every=8",
)  # fmt: skip
_LOOK_EVERY = 0.005  # seconds


def main() -> None:
    """Run, kill, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--work", type=Path, help="an empty folder to keep the runs in")
    parser.add_argument("--json", type=Path, default=HERE / "kill.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options.work or Path(folder), options.kills, options.steps, options.seed)
    report["machine"] = machine.describe()
    atomic.write_text(options.json, json.dumps(report, indent=1) + "\n")
    print(f"{len(report['kills'])} kills, {len(report['different'])} differences; written to {options.json}")
    sys.exit(bool(report["different"]) or len(report["kills"]) < options.kills)


def measure(work: Path, kills: int, steps: int, seed: int) -> dict[str, Any]:
    """Train `steps` updates twice below `work`, once left alone and once killed, and compare.

    Raises:
        FailedError: a training failed of itself.
    """
    draw(work / "data")
    whole, parts = work / "whole", work / "parts"
    began = time.monotonic()
    alone = _start(work, whole, steps)
    startup = _wait_for_change(alone, whole / "last.pt", began)
    _finish(alone, whole)
    seconds = time.monotonic() - began
    moments = random.Random(seed)
    # On average a kill uses up half of its part of the training, so that not all is done before the last one.
    spread = (seconds - startup) / max(1, kills)
    killed: list[dict[str, Any]] = []
    ended = False
    while len(killed) < kills and not ended:
        process = _start(work, parts, steps)
        since = time.monotonic()
        if len(killed) % 5 == 4:
            ended = _sleep(process, moments.uniform(0.0, startup))
        else:
            _wait_for_change(process, parts / "last.pt", since)
            ended = _sleep(process, moments.uniform(0.0, spread))
        if ended:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        last = parts / "last.pt"
        step = torch.load(last, weights_only=True)["step"] if last.is_file() else 0  # readable, whatever was cut off
        writing = any(parts.glob(".*.tmp*"))
        killed.append({"after_seconds": round(time.monotonic() - since, 2), "step": step, "while_writing": writing})
    _finish(process if ended else _start(work, parts, steps), parts)
    return {
        "steps": steps,
        "kills": killed,
        "seconds_alone": round(seconds, 1),
        "compared": ["last.pt", "checkpoint.pt", "validations"],
        "different": differences(whole, parts),
        "left_over": sorted(path.name for path in parts.glob(".*.tmp*")),
        "command": " ".join(["segx train", *(f'"{word}"' if " " in word else word for word in WORDS)]),
        "versions": {"torch": torch.__version__},
    }


def differences(one: Path, other: Path) -> list[str]:
    """Where two run folders of the same training differ: places in their checkpoints, and validations."""
    found = []
    for name in ("last.pt", "checkpoint.pt"):
        contents = [torch.load(run / name, weights_only=True) for run in (one, other)]
        for content in contents:
            content.pop("card", None)  # it names the run
        found += [f"{name}{place}" for place in _unlike(*contents)]
    logs = [_validations(run) for run in (one, other)]
    return found + ([] if logs[0] == logs[1] else ["validations"])


def _unlike(one: Any, other: Any, place: str = "") -> list[str]:
    if isinstance(one, torch.Tensor):
        return [] if isinstance(other, torch.Tensor) and torch.equal(one, other) else [place]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [name for key in one for name in _unlike(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [
            name for at, pair in enumerate(zip(one, other, strict=True)) for name in _unlike(*pair, f"{place}/{at}")
        ]
    return [] if one == other else [place]


def _validations(run: Path) -> list[tuple[int, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(record["step"], record["miou"]) for record in records if record["kind"] == "val"]


def draw(folder: Path) -> None:
    """16 training and 4 validation pictures of 32x48: bright rectangles (1) on noise (0)."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 4)):
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True)
        for index in range(count):
            mask = np.zeros((32, 48), np.uint8)
            y, x = rng.integers(2, 18), rng.integers(2, 30)
            mask[y : y + 12, x : x + 14] = 1
            picture = np.clip(rng.normal(90, 30, (32, 48, 3)) + 80 * mask[..., None], 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / split / "images" / f"{index:02}.png")
            Image.fromarray(mask).save(folder / split / "masks" / f"{index:02}.png")


def _start(work: Path, run: Path, steps: int) -> subprocess.Popen[bytes]:
    resume = ["--resume"] if (run / "last.pt").is_file() else []
    with run.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            segx("train", work / "data", "--out", run, *WORDS, "--steps", steps, *resume),
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def _wait_for_change(process: subprocess.Popen[bytes], path: Path, since: float) -> float:
    """Wait until `path` is written anew or the process ends; seconds from `since` until then."""
    before = path.stat().st_mtime_ns if path.is_file() else 0
    while process.poll() is None and (path.stat().st_mtime_ns if path.is_file() else 0) == before:
        time.sleep(_LOOK_EVERY)
    return time.monotonic() - since


def _sleep(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Let it work for so long; whether it ended meanwhile."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _finish(process: subprocess.Popen[bytes], run: Path) -> None:
    if status := process.wait():
        said = run.with_suffix(".log").read_text(errors="replace").strip().splitlines()[-8:]
        raise FailedError(f"status {status} of the training in {run}\n" + "\n".join(said))


if __name__ == "__main__":
    main()
