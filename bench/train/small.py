"""Sixty pictures: is the strong augmentation worth more than luck where there is little to learn from?

    python -m bench.train.small --data DATA --encoder-weights FILE --work WORK [--seeds 0 1 2] [--jobs 2]

The first 60 of every sixth CamVid training picture, at half size as in ablation.py; whole val. Flips only, the preset
`light`, and the preset `strong`, by two seeds and more; the gap counts where it is larger than the standard deviations
together. Done once, resumed where killed. Writes small.json beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.train.ablation import NETWORK, SIZE, policy
from bench.train.rows import Grid, Row, run_all, summarise
from bench.train.subsets import every_sixth, halve
from segx_core import atomic, machine
from segx_core.datasets import open_dataset

HERE = Path(__file__).parent
PICTURES = 60
FLIPS, STRONG = "flips only", "strong"


def main() -> None:
    """Run both, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--encoder-weights", required=True, help="state dict of efficientnet_lite0")
    parser.add_argument("--work", type=Path, required=True, help="may be that of ablation.py")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--epochs", type=int, default=60, help="of 60 pictures")
    parser.add_argument("--steps", type=int, help="instead of epochs, to try the bench itself")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--json", type=Path, default=HERE / "small.json")
    options = parser.parse_args()

    half = halve(options.data, options.work / "half")
    folder = every_sixth(open_dataset(str(half)), PICTURES, options.work / "sixty")
    data = open_dataset(str(folder))
    length = ("--steps", str(options.steps)) if options.steps else ("--epochs", str(options.epochs))
    common = (
        *NETWORK, "--encoder-weights", options.encoder_weights, "--size", SIZE, "--device", options.device,
        *length, "--set", f"validate_every={10**6}",
    )  # fmt: skip
    rows = [
        Row(FLIPS, ("--augment", str(policy("flips.yaml")))),
        *(Row(n, ("--augment", n)) for n in ("light", STRONG)),
    ]
    grid = Grid(str(folder), common, options.work / "small")
    failed = run_all(grid, rows, options.seeds, options.jobs)
    lines = summarise(grid, rows, options.seeds, (), failed)
    document = {
        "machine": machine.describe(),
        "common": [word if word != options.encoder_weights else "FILE" for word in common],
        "pictures": {split: len(data.split(split)) for split in ("train", "val")},
        "seeds": options.seeds,
        "rows": lines,
    }
    atomic.write_text(options.json, json.dumps(document, indent=2) + "\n")
    print(f"written to {options.json}")
    if failed:
        raise SystemExit(f"{len(failed)} rows failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
