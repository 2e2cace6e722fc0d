"""CamVid by the recipe and by the plain loop, for the same processor time, both measured through export and eval.

    python -m bench.train.camvid --data DATA --encoder-weights FILE --work WORK [--held-out 0001TP]

Trains by camvid.yaml, gives the plain loop the processor minutes that took, exports both, scores the files on `val`,
and bootstraps the difference over blocks of frames. With --held-out a drive of train is kept aside and scored instead.
Stages that have left their JSON in WORK are not run again; a killed training is resumed. Writes camvid.json, or
camvid-DRIVE.json, beside this file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.train import blocks, subsets
from bench.train.processes import cpu_minutes, run, segx
from segx_core import atomic, card_io, machine, onnx_metadata
from segx_core.card import METADATA_KEY
from segx_core.confusion import confusion, miou
from segx_core.datasets import Dataset, open_dataset
from segx_core.predictor import Predictor
from segx_trainer.config import read_yaml

HERE = Path(__file__).parent
FILES = ("segx fp32", "segx int8", "plain, last", "plain, best")
DRAWS = 10_000
SAME = 1e-6  # mIoU of frames added up, against that of `segx eval`


def main() -> None:
    """All stages, then the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CamVid with train/ trainannot/ val/ valannot/")
    parser.add_argument("--encoder-weights", required=True, help="state dict of the recipe's encoder")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=HERE / "camvid.yaml", help="the recipe")
    parser.add_argument("--set", action="append", default=[], help="key=value for segx train, over the recipe")
    parser.add_argument("--held-out", metavar="DRIVE", help="train without this drive and score it")
    parser.add_argument("--plain-minutes", type=float, help="processor minutes of the plain loop instead of segx's own")
    parser.add_argument("--block", type=int, default=10, help="frames a block")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    drive: str | None = options.held_out
    work: Path = options.work / (f"held-out-{drive}" if drive else "val")
    work.mkdir(parents=True, exist_ok=True)
    source, split = options.data, "val"
    if drive:
        source, split = str(subsets.hold_out(open_dataset(source), drive, work / "data")), "test"
    data = open_dataset(source)

    trained = train(options, source, work)
    plain = train_plainly(options, source, work, trained["cpu_minutes"])
    files = export(work)
    scores = evaluate(files, source, split, work)
    drawn = compare(files, data, split, scores, options.block, work)
    document = {
        "machine": machine.describe(),
        "recipe": {"keys": read_yaml(options.config), "set": options.set},
        "held_out": drive,
        "pictures": {"train": len(data.split("train")), "scored": len(data.split(split))},
        "segx": trained,
        "plain": {key: plain[key] for key in plain if key != "history"},
        "int8_gate": gate(files["segx int8"]),
        "scores": scores,
        "bootstrap": drawn,
    }
    target = options.json or HERE / (f"camvid-{drive}.json" if drive else "camvid.json")
    atomic.write_text(target, json.dumps(document, indent=2) + "\n")
    for one in drawn["pairs"]:
        print(f"{one['second']} - {one['first']}: {one['difference']:+.4f} ({one['low']:+.4f} to {one['high']:+.4f})")
    print({name: round(score["miou"], 4) for name, score in scores.items()}, f"written to {target}")


def train(options: argparse.Namespace, source: str, work: Path) -> dict[str, Any]:
    """The recipe, or what is left of it to do: what `segx train --json` says, with its processor minutes."""
    report, folder, ledger = work / "segx.json", work / "segx", work / "segx-cpu.json"
    if report.is_file():
        return read(report)
    answer = work / "segx-train.json"
    if (folder / "last.pt").is_file():
        command = segx("train", source, "--out", folder, "--resume", "--json", answer)
    else:
        shutil.rmtree(folder, ignore_errors=True)  # killed before the first state was saved: nothing to go on from
        given = ["--config", options.config, "--encoder-weights", options.encoder_weights, "--json", answer]
        settings = [word for setting in options.set for word in ("--set", setting)]
        command = segx("train", source, "--out", folder, *given, *settings)
    run(command, work / "segx.log", ledger)
    found = read(answer)
    kept = {key: found[key] for key in ("miou", "per_class_iou", "step", "total_steps")}
    return write(report, {**kept, "cpu_minutes": cpu_minutes(ledger)})


def train_plainly(options: argparse.Namespace, source: str, work: Path, minutes: float) -> dict[str, Any]:
    """The plain loop for as many processor minutes. Killed, it begins anew: a plain loop has no resume."""
    report = work / "plain" / "plain.json"
    if not report.is_file():
        words = ["--data", source, "--encoder-weights", options.encoder_weights, "--out", str(work / "plain")]
        words += ["--config", str(options.config), "--cpu-minutes", str(options.plain_minutes or minutes)]
        run([sys.executable, "-m", "bench.train.plain", *words], work / "plain.log")
    return read(report)


def export(work: Path) -> dict[str, Path]:
    """The files to score, by name. An int8 file that the gate refuses is scored all the same, and told as refused."""
    runs = {"plain, last": work / "plain" / "last", "plain, best": work / "plain" / "best"}
    files = {name: folder / "model.fp32.onnx" for name, folder in runs.items()}
    for name, folder in runs.items():
        if not files[name].is_file():
            run(segx("export", folder), work / "export.log")
    files |= {f"segx {precision}": work / "segx" / f"model.{precision}.onnx" for precision in ("fp32", "int8")}
    if not files["segx int8"].is_file():
        run(segx("export", work / "segx", "--precision", "int8"), work / "export.log", allowed=(0, 1))
    return {name: files[name] for name in FILES}


def gate(path: Path) -> str:
    """What export's gate said of a file."""
    return card_io.from_json(onnx_metadata.read(path)[METADATA_KEY], str(path)).gate.status


def evaluate(files: dict[str, Path], source: str, split: str, work: Path) -> dict[str, Any]:
    """What `segx eval --json` says of each file, by name."""
    report = work / "eval.json"
    if not report.is_file():
        run(segx("eval", *files.values(), "--data", source, "--split", split, "--json", report), work / "eval.log")
    results = [{key: one[key] for key in one if key != "model"} for one in read(report)["results"]]  # no paths
    return dict(zip(files, results, strict=True))


def compare(
    files: dict[str, Path], data: Dataset, split: str, scores: dict[str, Any], block: int, work: Path
) -> dict[str, Any]:
    """Differences of segx's files to the plain loop's, with intervals."""
    report = work / f"bootstrap-{block}.json"
    if report.is_file():
        return read(report)
    cut = blocks.frame_blocks([one.name for one in data.split(split)], block)
    counts = {name: per_frame(path, data, split) for name, path in files.items()}
    for name, matrices in counts.items():
        again = miou(matrices.sum(axis=0))
        if abs(again - scores[name]["miou"]) > SAME:
            raise SystemExit(f"expected {name} to score as in eval, {scores[name]['miou']:.4f}, got {again:.4f}")
    pairs = [
        {"first": first, "second": second, **asdict(blocks.difference(counts[first], counts[second], cut, DRAWS))}
        for second in FILES[:2]
        for first in FILES[2:]
    ]
    return write(report, {"frames_a_block": block, "blocks": len(cut), "draws": DRAWS, "pairs": pairs})


def per_frame(path: Path, data: Dataset, split: str) -> blocks.Counts:
    """(N, K, K) counts of a file, a matrix a picture."""
    model = Predictor.load(path, provider="cpu")
    found = []
    for sample in data.split(split):
        picture, target = data.read(sample)
        found.append(confusion(target, model.predict(picture), len(data.classes), data.ignore_index))
    return np.stack(found)


def read(path: Path) -> dict[str, Any]:
    """A stage's JSON."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def write(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Leave a stage's JSON; gives it back."""
    atomic.write_text(path, json.dumps(content, indent=2) + "\n")
    return content


if __name__ == "__main__":
    main()
