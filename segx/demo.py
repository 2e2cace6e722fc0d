"""`segx demo`: the whole way on generated pictures, with the same calls a user would make.

Every figure it prints is measured while it runs; it holds none of its own.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from segx.demo_page import write_page
from segx_core import atomic
from segx_core.datasets import Dataset, open_dataset
from segx_core.errors import ConfigError, SetupError
from segx_core.picture import encode_mask
from segx_core.predictor import Predictor
from segx_core.progress import console
from segx_evaluate import report
from segx_evaluate.result import Result
from segx_evaluate.run import evaluate_many
from segx_export.export import ExportRejectedError, ExportSettings, export_run
from segx_trainer.config import TrainConfig, build_config
from segx_trainer.train import train

MARK = ".segx-demo"
"""Stands in a folder the demo made, so that it never deletes anything else."""
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Reply:
    """What the service answered to one picture."""

    milliseconds: float
    same_as_predict: bool


def demo_config() -> TrainConfig:
    """What the demo trains: small and from scratch, a few minutes on two cores."""
    return build_config(
        {
            "data": "scenes",
            "model": "unet",
            "encoder": "regnetx_002",
            "encoder_depth": 4,
            "encoder_weights": "none",
            "decoder_channels": 128,
            "loss": "ce + 0.5*dice",
            "augment": "light",
            "scale": (1.0, 1.0),
            "epochs": 10,
            "batch_size": 4,
            "lr": 3e-3,
            "warmup": 0.1,
            "schedule": "cosine",
            "validate_every": 2,
        }
    )


def run_demo(out: Path, config: TrainConfig | None = None) -> None:
    """Train on `scenes`, export fp32 and int8, compare both, serve, and write OUT/index.html.

    Args:
        out: folder of the demo; one of an earlier demo is made anew, any other non-empty folder refused.
        config: what to train; None is `demo_config()`.

    Raises:
        SegxError: from any step.
    """
    began = time.monotonic()
    _make_folder(out)
    data = open_dataset("scenes")
    run = out / "run"

    _step(1, "train a small network from scratch, under cross-entropy and half a Dice loss")
    train(config or demo_config(), run)
    _step(2, "export to ONNX, then quantize to int8, calibrated on training pictures and gated on held-out ones")
    try:
        exported = export_run(run, ExportSettings(quantize=True))
    except ExportRejectedError as error:
        console().print(error.report.table())
        raise
    console().print(exported.table())
    _step(3, "evaluate the very files that ship")
    files = [run / "model.fp32.onnx", exported.path]
    results = evaluate_many(files, data, "val")
    Console().print(report.table(results))
    unseen = evaluate_many(files, data, "test")
    report.write_json(out / "val.json", report.to_json(results, data="scenes", split="val"))
    report.write_json(out / "test.json", report.to_json(unseen, data="scenes", split="test"))
    _step(4, "serve the int8 file, send it a picture, compare the answer with segx predict")
    reply = _ask_service(files[1], data)
    console().print(
        f"The service answered in {reply.milliseconds:.0f} ms; its PNG is "
        f"{'byte for byte that' if reply.same_as_predict else 'NOT that'} of segx predict."
    )
    page = write_page(out, data, files, results, unseen, reply.milliseconds, reply.same_as_predict)
    _next_steps(out, page, run, files, results, unseen, time.monotonic() - began)


def _step(number: int, text: str) -> None:
    console().print(Rule(f"{number} of 4: {text}", align="left", style="cyan"))


def _make_folder(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise ConfigError("an empty folder or an earlier demo for --out", f"{out}, which holds other files")
        shutil.rmtree(out)
    atomic.make_folder(out)
    atomic.write_text(out / MARK, "")


def _ask_service(model: Path, data: Dataset) -> Reply:
    sample = data.split("val")[0]
    predictor = Predictor.load(model)
    expected = encode_mask(predictor.predict(data.read(sample)[0]), predictor.card.palette)
    with _service(model) as url:
        request = urllib.request.Request(f"{url}/segment", sample.image.read_bytes(), {"Content-Type": "image/png"})
        began = time.monotonic()
        with _direct().open(request, timeout=30) as response:
            answer = response.read()
        return Reply((time.monotonic() - began) * 1e3, answer == expected)


@contextmanager
def _service(model: Path) -> Iterator[str]:
    """A real `segx serve` on a free loopback port, ready, and ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "segx", "serve", str(model), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                said = process.stderr.read().strip()[-500:] if process.stderr else ""
                raise SetupError("the service to start", said or "no answer in time")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.communicate()


def _direct() -> urllib.request.OpenerDirector:
    """A door to this machine's own service, past any proxy the environment names for the rest of the world."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _is_ready(url: str) -> bool:
    try:
        with _direct().open(f"{url}/v2/health/ready", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _next_steps(
    out: Path, page: Path, run: Path, files: list[Path], results: list[Result], unseen: list[Result], seconds: float
) -> None:
    fp32, small = results
    console().print(Rule("done", align="left", style="green"))
    console().print(
        f"mIoU on val {fp32.miou:.4f} (fp32) and {small.miou:.4f} ({files[1].name.split('.')[1]}); on test, whose "
        f"textures training never saw, {unseen[0].miou:.4f} and {unseen[1].miou:.4f}. "
        f"{fp32.size_bytes / 2**20:.1f} MiB became {small.size_bytes / 2**20:.1f} MiB. "
        f"{seconds / 60:.1f} minutes in all."
    )
    picture = "PICTURE.jpg"
    console().print(
        f"\nLook at   {page}\nServe     segx serve {files[1]}        then open http://127.0.0.1:8000\n"
        f"Predict   segx predict {files[1]} {picture} --out masks --overlay\n"
        f"Your data segx train FOLDER --out runs/mine           FOLDER holds images/ and masks/\n"
        f"Curves    tensorboard --logdir {run}"
    )
