"""Compressed files beside the plain float export and beside other quantizers, in turns on one machine.

    python -m bench.export.run --runs RUNS --data DATA [--networks unet,segformer,fpn] [--quick]

RUNS has a run folder of `segx train` for each network; `RUN/pruned-*`, where there are any, take part too. README.md
says what is measured and how fair it is. Writes results.json beside this file; --quick only shows that all works.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bench.export import contestants, measure, tiles
from bench.export.forms import FORMS
from bench.export.workers import Worker, workers
from segx_core import atomic, machine
from segx_core.datasets import Dataset, open_dataset
from segx_trainer.checkpoint import BEST, load_run

RESULT = Path(__file__).with_name("results.json")
NETWORKS = ("unet", "segformer", "fpn")
SIDE = 256
JUDGED = 101
"""Held-out crops that every file is judged on, spread evenly."""
INSTRUCTIONS = frozenset(
    ["avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm"]
)


def main() -> None:
    """Measure each network and write the table."""
    options = arguments()
    data = open_dataset(options.data)
    pictures = 8 if options.quick else None
    rounds, runs, images = (3, 2, 8) if options.quick else (options.rounds, options.repeats, options.calibration)
    with tempfile.TemporaryDirectory() as scratch, workers() as running:
        work = Path(options.work or scratch) / ("quick" if options.quick else f"calibrated-{images}")
        crops = tiles.make_tiles(data, SIDE, work / "tiles", pictures)
        found = [
            network(name, options.runs / name, crops, images, (rounds, runs), work, running)
            for name in options.networks.split(",")
            if (options.runs / name / BEST).is_file()
        ]
        versions = {key: value for one in running.values() for key, value in one.ask("version")["versions"].items()}
    document = {
        "machine": machine.describe(),
        "instructions": instructions(),
        "versions": versions,
        "settings": {
            "side": SIDE, "threads": 1, "batch": 1, "rounds": rounds, "runs": runs, "calibration": images,
            "val_crops": min(JUDGED, len(crops.split("val"))), "data": data.layout,
        },
        "networks": found,
    }  # fmt: skip
    text = json.dumps(document, indent=2) + "\n"
    if options.out is not None or not options.quick:
        atomic.write_text(options.out or RESULT, text)
    print(text)


def instructions() -> list[str]:
    """The processor's wide and 8-bit instructions, which decide how much int8 gains; empty where /proc is not."""
    listing = Path("/proc/cpuinfo")
    return sorted(INSTRUCTIONS & set(listing.read_text().split())) if listing.is_file() else []


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=5, help="runs of one turn")
    parser.add_argument("--calibration", type=int, default=96, help="pictures for every quantizer")
    parser.add_argument("--work", type=Path, help="keep crops and files here and take what is there")
    parser.add_argument("--out", type=Path, help="write here in place of results.json")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def network(
    name: str, run: Path, crops: Dataset, images: int, turns: tuple[int, int], work: Path, running: dict[str, Worker]
) -> dict[str, Any]:
    """Both tables of one network."""
    folder = work / name
    everyone, inputs, unbuilt = contestants.build(run, crops, SIDE, images, folder, running)
    card = load_run(run).card
    forms = {}
    for form in FORMS:
        able, failed = measure.load([one for one in everyone if one.form == form], running)
        table = measure.summarise(measure.take_turns(able, running, inputs.picture[form], *turns))
        quality: dict[str, dict[str, float]] = {}
        if form == "deploy":
            pictures, targets = tiles.stack(crops, "val", JUDGED)
            maps = measure.class_maps(able, running, pictures, folder)
            quality = measure.scores(maps, targets, len(crops.classes), crops.ignore_index)
        size = next(one.size_bytes for one in able if one.name == contestants.REFERENCE)
        rows: list[dict[str, Any]] = [
            {
                "name": one.name,
                **table[one.name],
                **quality.get(one.name, {}),
                "size_bytes": one.size_bytes or None,
                "size_ratio": round(one.size_bytes / size, 4) if one.size_bytes else None,
                "note": one.note,
            }
            for one in able
        ]
        forms[form] = rows + [{"name": label, "error": reason} for label, reason in (unbuilt[form] | failed).items()]
    training = card.training
    return {
        "name": name,
        "network": training.network if training else None,
        "encoder": training.encoder if training else None,
        "steps": training.steps if training else None,
        "val_miou": training.val_miou if training else None,
        "forms": forms,
    }


if __name__ == "__main__":
    main()
