"""Which tool helps on CamVid, and by how much more than luck: one thing changed at a time, several seeds.

    python -m bench.train.ablation --data DATA --encoder-weights FILE --work WORK [--jobs 2] [--gpu] [--teacher RUN]

Pictures and label maps are halved once into WORK/half, to 180x240: crops of 160x224 are trained on and whole pictures
of 180x240 are validated on, so both see things at one size, and the zoom of the presets means what it says. Each run
validates once, at its end, so no row gains from the luckiest epoch. The default is what two cores do in an hour or
two; --gpu runs all rows with more seeds and epochs. Rows that are there are not run again, killed ones are resumed;
rows that were not run stay in the table and say so. Writes ablation.json (ablation-gpu.json) beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from bench.train.rows import Grid, Row, run_all, summarise
from bench.train.subsets import halve
from segx_core import atomic, machine
from segx_core.datasets import Dataset, open_dataset

HERE = Path(__file__).parent
NETWORK = ("--model", "fpn", "--encoder", "efficientnet_lite0", "--set", "decoder_channels=128")
SIZE = "160x224"
ON_CPU = (
    "baseline", "ce + 0.5*dice", "focal", "logit_adjust", "weights effective", "sampler rare", "copy-paste",
    "all imbalance tools",
)  # fmt: skip
RAREST = 3


def grid_rows(teacher: str | None, pasting: Path) -> list[Row]:
    """Every row. The baseline is ce, no weights, uniform sampling, light augmentation, no EMA.

    Args:
        teacher: run folder to distil from; without one that row says what it lacks.
        pasting: augmentation file with copy-paste, otherwise as `light`.
    """
    losses = ("ce + 0.5*dice", "lovasz", "ce + lovasz", "focal", "ohem", "logit_adjust")
    weights = ("median", "enet", "effective")
    paste = ("--augment", str(pasting))
    imbalance = ("--loss", "ce + 0.5*dice", "--class-weights", "effective", "--sampler", "rare", *paste)
    distilled = ("--teacher", teacher or "RUN", "--loss", "ce + kd")
    return [
        Row("baseline"),
        *(Row(loss, ("--loss", loss)) for loss in losses),
        *(Row(f"weights {name}", ("--class-weights", name)) for name in weights),
        Row("sampler rare", ("--sampler", "rare")),
        Row("copy-paste", paste),
        Row("augmentation none", ("--augment", "none")),
        Row("augmentation strong", ("--augment", "strong")),
        Row("EMA", ("--set", "ema=0.99")),
        Row("distillation", distilled, lacks="" if teacher else "no --teacher RUN was given"),
        Row("all imbalance tools", imbalance),
    ]


def main() -> None:
    """Run what was asked for, then write the whole table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--encoder-weights", required=True, help="state dict of efficientnet_lite0")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--gpu", action="store_true", help="all rows, 3 seeds, 40 epochs, on CUDA")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="these rows instead")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--steps", type=int, help="instead of epochs, to try the bench itself")
    parser.add_argument("--teacher", help="run folder to distil from")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    half = str(halve(options.data, options.work / "half"))
    rows = grid_rows(options.teacher, policy("copy_paste.yaml"))
    wanted = options.rows or ([row.name for row in rows] if options.gpu else ON_CPU)
    if unknown := sorted(set(wanted) - {row.name for row in rows}):
        raise SystemExit(f"expected rows out of {', '.join(row.name for row in rows)}, got {', '.join(unknown)}")
    seeds = options.seeds or ([0, 1, 2] if options.gpu else [0, 1])
    epochs = options.epochs or (40 if options.gpu else 9)
    length = ("--steps", str(options.steps)) if options.steps else ("--epochs", str(epochs))
    common = (
        *NETWORK, "--encoder-weights", options.encoder_weights, "--size", SIZE, "--device",
        "cuda" if options.gpu else "cpu", *length, "--set", f"validate_every={10**6}",
    )  # fmt: skip
    grid = Grid(half, common, options.work / "rows")

    failed = run_all(grid, [row for row in rows if row.name in wanted], seeds, options.jobs)

    data = open_dataset(half)
    shares = class_shares(data)
    rarest = sorted(shares, key=lambda name: shares[name])[:RAREST]
    document = {
        "machine": machine.describe(),
        "common": [word if word != options.encoder_weights else "FILE" for word in common],
        "pictures": {split: len(data.split(split)) for split in ("train", "val")},
        "train_share": shares,
        "seeds": seeds,
        "rows": summarise(grid, rows, seeds, rarest, failed),
    }
    target = options.json or HERE / ("ablation-gpu.json" if options.gpu else "ablation.json")
    atomic.write_text(target, json.dumps(document, indent=2) + "\n")
    print(f"written to {target}")
    if failed:
        raise SystemExit(f"{len(failed)} rows failed: {', '.join(failed)}")


def policy(name: str) -> Path:
    """An augmentation file beside this one, relative to the working folder: JSON names no machine's folders."""
    return Path(os.path.relpath(HERE / name))


def class_shares(data: Dataset) -> dict[str, float]:
    """Share of the training split's labelled pixels, by class name."""
    counts = np.zeros(len(data.classes), np.int64)
    for sample in data.split("train"):
        counts += np.bincount(data.read_mask(sample).ravel(), minlength=256)[: len(data.classes)]
    return {name: float(share) for name, share in zip(data.classes, counts / counts.sum(), strict=True)}


if __name__ == "__main__":
    main()
