"""Whether an NVIDIA GPU really works here: the CUDA provider loads, agrees with the CPU, and what fp32 and fp16 cost.

    python bench/gpu/smoke.py [MODEL.onnx ...]

Without a model it exports a random U-Net-ResNet18. Latency is that of Predictor (card obeyed, output checked) beside
the raw ONNX Runtime session on the same file, one 512x512 picture, interleaved medians. Writes bench/gpu/smoke.json;
without a working GPU it says "not run", writes nothing and exits 0; masks that disagree make it exit 1.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from segx_core import atomic, machine, runtime
from segx_core.card import Card, InputSpec, OutputSpec, Session
from segx_core.palette import default_palette
from segx_core.predictor import Predictor
from segx_export.deploy import deploy_card, deploy_model
from segx_export.half import to_half
from segx_export.modelfile import write_model

RESULT = Path(__file__).with_name("smoke.json")
SIDE, PICTURES, TURNS, AGREEMENT = 512, 8, 50, 0.999


def main(models: list[Path]) -> int:
    """Measure each model; the exit code."""
    problem = runtime.trouble(runtime.CUDA)
    if problem is not None:
        print(f"not run: {problem[0]}. {problem[1]}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        paths = models or [random_model(Path(folder))]
        rows = [row for path in paths for row in measure(path, Path(folder))]
    good = all(row["agreement"] >= AGREEMENT for row in rows)
    result = {"machine": machine.describe(), "pictures": PICTURES, "side": SIDE, "passed": good, "results": rows}
    atomic.write_text(RESULT, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0 if good else 1


def random_model(folder: Path, classes: int = 11) -> Path:
    """A U-Net-ResNet18 with random weights: as slow as a trained one, and harder to agree on."""
    import torch

    from segx_trainer.config import TrainConfig
    from segx_trainer.networks import build_network

    torch.manual_seed(0)
    config = TrainConfig(data="none", model="unet", encoder="resnet18", encoder_weights="none")
    network = build_network(config, classes).eval()
    card = Card(
        name="random",
        classes=tuple(f"class{index}" for index in range(classes)),
        palette=default_palette(classes),
        inputs=(InputSpec(name="image"),),
        outputs=(OutputSpec(name="classmap"),),
    )
    path = folder / "random-unet-resnet18.onnx"
    write_model(deploy_model(network), deploy_card(card, "classmap"), path)
    return path


def measure(path: Path, folder: Path) -> list[dict[str, Any]]:
    """Rows of one float32 file: itself and its fp16 form on CUDA, against float32 on the CPU."""
    reference = Predictor.load(path, provider="cpu")
    half = folder / f"{path.stem}.fp16.onnx"
    card = reference.card.model_copy(update={"precision": "fp16", "session": Session()})
    write_model(to_half(onnx.load(path)), card, half)
    batch = pictures()
    wanted = np.concatenate([reference.run(one[None]) for one in batch])
    rows = []
    for precision, file in (("fp32", path), ("fp16", half)):
        predictor = Predictor.load(file, provider="cuda")
        assert predictor.provider == runtime.CUDA
        got = np.concatenate([predictor.run(one[None]) for one in batch])
        ours, raw = latencies(predictor, file, batch[:1])
        rows.append(
            {
                "model": path.name,
                "precision": precision,
                "provider": predictor.provider,
                "agreement": float((got == wanted).mean()),
                "latency_ms": ours,
                "raw_session_ms": raw,
            }
        )
    return rows


def pictures() -> NDArray[np.uint8]:
    """(PICTURES, SIDE, SIDE, 3) uint8 with structure at two scales."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (PICTURES, SIDE // 32, SIDE // 32, 3)).repeat(32, axis=1).repeat(32, axis=2)
    noisy: NDArray[np.uint8] = np.clip(coarse + random.integers(-30, 31, coarse.shape), 0, 255).astype(np.uint8)
    return noisy


def latencies(predictor: Predictor, file: Path, batch: NDArray[np.uint8]) -> tuple[float, float]:
    """Median ms of Predictor.run and of a raw session on the same file, taken in turns."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    raw = onnxruntime.InferenceSession(str(file), options, providers=[runtime.CUDA, runtime.CPU])
    output = predictor.card.prediction.name
    calls: tuple[Callable[[], object], ...] = (
        lambda: predictor.run(batch),
        lambda: raw.run([output], {predictor.card.image.name: batch}),
    )
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(TURNS + 5):
        for call, record in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            if turn >= 5:  # the first ones choose kernels
                record.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times[0])), float(np.median(times[1]))


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
