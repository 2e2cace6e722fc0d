"""CamVid, the whole way through the command: train, export --quantize, eval, and the service against predict.

    python bench/camvid/run.py --data DATA --weights mobilenet_v2.pth --run RUN

DATA is the 480x360, 11-class CamVid with `train/ trainannot/ val/ valannot/`; the weights are MobileNetV2's ImageNet
state dict in torchvision's layout. A run that was interrupted is resumed; a finished one is only measured.
Writes results.json beside this file. val lies within seconds of train frames of the same drive: its figures flatter.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from segx_core import card_io, machine, onnx_metadata
from segx_core.card import METADATA_KEY, Card
from segx_core.datasets import open_dataset

RECIPE = {
    "--model": "fpn",
    "--encoder": "mobilenet_v2",
    "--size": "224x288",
    "--epochs": "28",
    "--batch-size": "8",
    "--loss": "ce + 0.5*dice",
    "--lr": "0.001",
}
SETTINGS = ("decoder_channels=128", "encoder_lr_factor=0.3", "validate_every=7")
PICTURES = 20  # compared between service and predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    options = parser.parse_args()
    run, data = options.run, options.data

    train(run, data, options.weights)
    fp32, int8 = run / "model.fp32.onnx", run / "model.int8.onnx"
    if not int8.is_file():
        segx("export", run, "--precision", "int8", "--data", data)
    segx("eval", fp32, int8, "--data", data, "--split", "val", "--json", run / "val.json")

    card = read_card(fp32)
    assert card.training is not None
    scores = {result["model"]: result for result in json.loads((run / "val.json").read_text())["results"]}
    document = {
        "machine": machine.describe(),
        "recipe": {**RECIPE, "--set": list(SETTINGS)},
        "train_steps": card.training.steps,
        "train_minutes": minutes(run),
        "torch_val_miou": card.training.val_miou,
        "onnx_minus_torch": scores[fp32.name]["miou"] - (card.training.val_miou or 0),
        "int8_minus_fp32": scores[int8.name]["miou"] - scores[fp32.name]["miou"],
        "service_equals_predict": compare_service(int8, data, run),
        "val": list(scores.values()),
    }
    target = Path(__file__).with_name("results.json")
    target.write_text(json.dumps(document, indent=2) + "\n")
    shown = ("torch_val_miou", "onnx_minus_torch", "int8_minus_fp32", "service_equals_predict")
    print({key: document[key] for key in shown}, {name: score["miou"] for name, score in scores.items()})


def train(run: Path, data: Path, weights: Path) -> None:
    """Train, or go on with what is there."""
    if (run / "last.pt").is_file():
        if (read_steps(run)[-1]) < total_steps(data):
            segx("train", data, "--out", run, "--resume")
        return
    options = [word for pair in RECIPE.items() for word in pair]
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    segx("train", data, "--out", run, "--encoder-weights", weights, *options, *settings)


def total_steps(data: Path) -> int:
    """Updates the recipe takes."""
    return len(open_dataset(data).split("train")) // int(RECIPE["--batch-size"]) * int(RECIPE["--epochs"])


def read_steps(run: Path) -> list[int]:
    """Steps in the log."""
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def minutes(run: Path) -> float:
    """Minutes between the first and the last line of the log."""
    times: list[float] = [json.loads(line)["time"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    return round((times[-1] - times[0]) / 60, 1)


def read_card(path: Path) -> Card:
    """The card inside a file."""
    return card_io.from_json(onnx_metadata.read(path)[METADATA_KEY], str(path))


def compare_service(model: Path, data: Path, run: Path) -> str:
    """How many answers of a real service equal the files of `segx predict` byte for byte."""
    samples = open_dataset(data).split("val")
    step = max(1, len(samples) // PICTURES)
    pictures = [sample.image for sample in samples[::step][:PICTURES]]
    masks = run / "masks"
    segx("predict", model, *pictures, "--out", masks)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "segx", "serve", str(model), "--port", str(port)]
    service = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", service)
        same = sum(
            ask(f"http://127.0.0.1:{port}/segment", picture) == (masks / f"{picture.stem}.png").read_bytes()
            for picture in pictures
        )
    finally:
        service.terminate()
        service.wait()
    return f"{same} of {len(pictures)}"


def wait_until_ready(url: str, service: subprocess.Popen[Any]) -> None:
    """Poll readiness for at most a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and service.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/v2/health/ready", timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the service did not start")


def ask(url: str, picture: Path) -> bytes:
    """The service's PNG for one picture."""
    request = urllib.request.Request(url, picture.read_bytes(), {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: bytes = response.read()
    return answer


def segx(*words: object) -> None:
    """Run the command; stop where it fails."""
    subprocess.run([sys.executable, "-m", "segx", *map(str, words)], check=True, env=dict(os.environ))


if __name__ == "__main__":
    main()
