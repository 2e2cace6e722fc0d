"""A planted failure: int8 with signed activations and one scale a weight tensor. Does the gate see it?

    python -m bench.export.planted --run RUN --data DATA

And does the search mend it? Writes planted.json beside this file: what the gate says of all-int8, the evaluations of
the search, and what the gate says of what the search found, on held-out pictures that it never saw.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from segx_core import atomic, machine
from segx_core.datasets import Dataset, open_dataset
from segx_export.calibrate import activations, calibrate
from segx_export.candidates import SESSIONS, Candidate
from segx_export.deploy import deploy_card, deploy_model
from segx_export.judging import judge_all
from segx_export.quantize import Scheme, prepare, quantize
from segx_export.search import search, split_training
from segx_export.settings import ExportSettings
from segx_trainer.checkpoint import load_run

POOR = Scheme(signed=True, per_channel=False, reduced=False)
RESULT = Path(__file__).with_name("planted.json")


def main() -> None:
    """Plant, judge, search, judge again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=32, help="calibration pictures")
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    loaded = load_run(options.run)
    model = deploy_model(loaded.network)
    card = deploy_card(loaded.card, "classmap")
    marked = card.model_copy(update={"precision": "int8", "session": SESSIONS["int8"]})
    settings = ExportSettings(precision="int8", provider="cpu", max_latency=None)

    prepared = prepare(model, raw=False)
    pictures = [{"image": dataset.read(sample)[0][None]} for sample in split_training(dataset, options.images)[0]]
    ranges = calibrate(prepared, activations(prepared, POOR.operators), pictures, len(pictures))
    planted = Candidate(quantize(prepared, ranges.bounds["minmax"], POOR), marked)
    found = search(model, marked, dataset, options.images, settings.max_drop, POOR)
    mended = Candidate(found.model, marked, searched=found)
    reference = Candidate(model, card)
    rows = {
        name: verdict(reference, one, settings, dataset) for name, one in (("planted", planted), ("mended", mended))
    }
    document = {"machine": machine.describe(), "run": loaded.card.name, **rows, "search": found.to_json()}
    atomic.write_text(RESULT, json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))


def verdict(reference: Candidate, one: Candidate, settings: ExportSettings, dataset: Dataset) -> dict[str, Any]:
    """What the gate says of one file."""
    with tempfile.TemporaryDirectory() as folder:
        reports, _ = judge_all({"fp32": reference, "int8": one}, settings, dataset, Path(folder))
    judged = replace(reports[1], searched=None, recipe={})
    return judged.to_json()


if __name__ == "__main__":
    main()
