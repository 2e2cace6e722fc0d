"""Cases on which losses and metrics of other projects give a wrong value, beside the right value and segx's.

    python -m bench.train.peers

The peers run in an environment of their own (README.md says how to make it); where it is not there, those that are
installed here do, and the others say so. The right value is NumPy's, written out in peers_cases.py. Writes peers.json
beside this file; exits 1 where a value of segx is not the right one.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.train import peers_cases as cases
from bench.train.peers_cases import IGNORED, Inputs
from segx_core import atomic, confusion, machine
from segx_trainer import losses

HERE = Path(__file__).parent
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    title: str
    peer: str
    answer: str
    """Key of the worker's answer."""
    right: Callable[[], float]
    ours: Callable[[], float]
    needs: str = ""
    """Loss of segx that it is about."""


def all_cases() -> list[Case]:
    """In the order of the table."""
    smp, mmseg = "segmentation-models-pytorch", "mmsegmentation"
    plain, shifted = cases.labelled(), raised(cases.labelled(), 5.0)
    mostly, none = cases.mostly_ignored(), cases.all_ignored()
    missed, half, few = cases.missed_class(), cases.half_ignored(), cases.few_classes()
    pictures, alarms = cases.two_pictures(), cases.false_alarms()
    return [
        Case("SoftCrossEntropyLoss() with its defaults", smp, "smp_ce_defaults", ce(plain), ours("ce", plain)),
        Case("cross-entropy, 87.5 % of the pixels ignored", smp, "smp_ce_ignored", ce(mostly), ours("ce", mostly)),
        Case(
            "multiclass focal loss, there by a sigmoid a class",
            smp, "smp_focal", focal(plain), ours("focal", plain), "focal",
        ),
        Case(
            "the same, 5 added to all logits, which softmax does not see",
            smp, "smp_focal_shifted", focal(shifted), ours("focal", shifted), "focal",
        ),
        Case("Dice loss, a class of 1 % missed", mmseg, "mmseg_missed", dice(missed), ours("dice", missed)),
        Case("Dice loss, all right, half the pixels ignored", mmseg, "mmseg_ignored", dice(half), ours("dice", half)),
        Case(
            "Dice loss, all right, 4 of 19 classes there",
            "ultralytics", "ultralytics_absent", dice(few), ours("dice", few),
        ),
        Case(
            "MeanIoU of a set: one pixel of 20,000 wrong, the only one of its class in its picture",
            "torchmetrics", "torchmetrics_miou", lambda: cases.miou(*pictures), lambda: our_miou(*pictures),
        ),
        Case(
            "IoU of a class found twice as often as it is there, background given as ignore index",
            "evaluate (Hugging Face), formula of mean_iou", "evaluate_recall", lambda: cases.iou(*alarms, 1),
            lambda: our_iou(*alarms, 1),
        ),
        Case("cross-entropy, every pixel ignored", "torch", "torch_all_ignored", ce(none), ours("ce", none)),
    ]  # fmt: skip


def main() -> int:
    """Ask everyone, write the JSON; the exit status."""
    told = ask_peers()
    known, rows, wrong = losses.names(), [], []
    for case in all_cases():
        right = case.right()
        row: dict[str, Any] = {"case": case.title, "peer": case.peer, "right": right, **told["answers"][case.answer]}
        row["segx"] = case.ours() if not case.needs or case.needs in known else None
        if row["segx"] is not None and not math.isclose(row["segx"], right, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            wrong.append(case.title)
        rows.append(row)
    document = {"machine": machine.describe(), "versions": told["versions"], "rows": rows}
    atomic.write_text(HERE / "peers.json", json.dumps(document, indent=2) + "\n")
    for row in rows:
        value = row.get("value", row.get("error"))
        print(f"{row['peer']}: {row['case']}: {value}, right {row['right']}, segx {row['segx']}")
    if wrong:
        print(f"segx is wrong: {'; '.join(wrong)}")
    return 1 if wrong else 0


def ask_peers() -> dict[str, Any]:
    """What peers_worker prints, from the peers' environment or, where there is none, from this one."""
    place = Path(os.environ.get("BENCH_VENVS", "~/.cache/segx-bench")).expanduser() / "losses" / "bin" / "python"
    python = str(place) if place.is_file() else sys.executable
    command = [python, "-W", "ignore", "-m", "bench.train.peers_worker"]
    done = subprocess.run(command, cwd=HERE.parents[1], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def raised(inputs: Inputs, shift: float) -> Inputs:
    """All logits higher by `shift`."""
    return Inputs(inputs.logits + shift, inputs.target)


def ce(inputs: Inputs) -> Callable[[], float]:
    """The right cross-entropy."""
    return lambda: cases.cross_entropy(inputs)


def focal(inputs: Inputs) -> Callable[[], float]:
    """The right focal loss."""
    return lambda: cases.focal(inputs)


def dice(inputs: Inputs) -> Callable[[], float]:
    """The right Dice loss."""
    return lambda: cases.dice(inputs)


def ours(name: str, inputs: Inputs) -> Callable[[], float]:
    """segx's value of a loss."""
    logits, target = torch.from_numpy(inputs.logits), torch.from_numpy(inputs.target)
    return lambda: float(losses.build(name, logits.shape[1], IGNORED)(logits, target))


def our_miou(target: Any, guess: Any) -> float:
    """segx's mIoU over a set."""
    return confusion.miou(confusion.confusion(target, guess, 2))


def our_iou(target: Any, guess: Any, k: int) -> float:
    """segx's IoU of one class; a data set whose ignore index is a class is refused where it is opened."""
    return float(confusion.iou(confusion.confusion(target, guess, 2))[k])


if __name__ == "__main__":
    sys.exit(main())
