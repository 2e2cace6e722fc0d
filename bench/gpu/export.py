"""What compressed files cost on an NVIDIA GPU: fp32 and fp16 on CUDA, and fp32, fp16 and int8 on TensorRT.

    python -m bench.gpu.export [--side 256] [MODEL.onnx ...]

Models are float32 files of `segx export`; without one it exports a random U-Net-ResNet18. int8 is a QDQ graph with
signed symmetric activations, the only ones TensorRT takes, calibrated on generated pictures: its time means something,
its agreement only with trained weights and real pictures. Pictures lie on the GPU (IOBinding), turns are interleaved.
Writes bench/gpu/export.json; without a working GPU it says "not run", writes nothing and exits 0.
"""

from __future__ import annotations

import argparse
import json
import statistics
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

from bench.gpu.smoke import random_model
from bench.serve.make_models import scene
from segx_core import atomic, machine, runtime
from segx_export.calibrate import activations, calibrate
from segx_export.half import to_half
from segx_export.quantize import TENSORRT, prepare, quantize

RESULT = Path(__file__).with_name("export.json")
PICTURES, ROUNDS, RUNS = 8, 30, 10
ENGINES: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("fp32, CUDA", "fp32", runtime.CUDA, {}),
    ("fp16, CUDA", "fp16", runtime.CUDA, {}),
    ("fp32, TensorRT", "fp32", runtime.TENSORRT, {}),
    ("fp16, TensorRT", "fp32", runtime.TENSORRT, {"trt_fp16_enable": "1"}),
    ("int8, TensorRT", "int8", runtime.TENSORRT, {"trt_int8_enable": "1", "trt_fp16_enable": "1"}),
)
"""A row's name, the file it runs, the provider, and its options. The first is the reference."""


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--side", type=int, default=256)
    options = parser.parse_args()
    problem = runtime.trouble(runtime.CUDA)
    if problem is not None:
        print(f"not run: {problem[0]}. {problem[1]}")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = options.models or [random_model(folder)]
        found = [{"model": path.name, "rows": measure(path, folder, options.side)} for path in models]
    result = {"machine": machine.describe(), "side": options.side, "rounds": ROUNDS, "runs": RUNS, "results": found}
    atomic.write_text(RESULT, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0


def measure(path: Path, folder: Path, side: int) -> list[dict[str, Any]]:
    """A row for each engine that this machine has; TensorRT's say why where they could not be had."""
    random = np.random.default_rng(0)
    pictures = np.stack([scene(random, side, side) for _ in range(PICTURES)])
    files = {"fp32": path, "fp16": folder / f"{path.stem}.fp16.onnx", "int8": folder / f"{path.stem}.trt.onnx"}
    onnx.save(to_half(onnx.load(path)), files["fp16"])
    signed_int8(path, pictures, files["int8"])
    rows: list[dict[str, Any]] = []
    calls: dict[str, Callable[[], None]] = {}
    maps: dict[str, NDArray[np.generic]] = {}
    for name, kind, provider, wish in ENGINES:
        trouble = runtime.trouble(provider)
        if trouble is not None:
            rows.append({"name": name, "error": trouble[0]})
            continue
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(files[kind]), options, providers=[(provider, wish), (runtime.CUDA, {}), (runtime.CPU, {})]
        )
        assert session.get_providers()[0] == provider, session.get_providers()
        maps[name] = np.concatenate([session.run(None, {"image": one[None]})[0] for one in pictures])
        calls[name] = bound(session, pictures[:1])
    times = turns(calls)
    base = times[ENGINES[0][0]]
    for name, kind, _, _ in ENGINES:
        if name in calls:
            ratios = [own / reference for own, reference in zip(times[name], base, strict=True)]
            low, middle, high = np.percentile(ratios, (25, 50, 75))
            agreement = float((maps[name] == maps[ENGINES[0][0]]).mean())
            row = {"name": name, "ms": statistics.median(times[name]), "ratio": float(middle)}
            spread = {"ratio_low": float(low), "ratio_high": float(high)}
            rows.append({**row, **spread, "agreement": agreement, "size_bytes": files[kind].stat().st_size})
    return rows


def bound(session: onnxruntime.InferenceSession, picture: NDArray[np.uint8]) -> Callable[[], None]:
    """A run whose picture and class map stay on the GPU."""
    binding = session.io_binding()
    binding.bind_ortvalue_input("image", onnxruntime.OrtValue.ortvalue_from_numpy(picture, "cuda", 0))
    binding.bind_output(session.get_outputs()[0].name, "cuda", 0)

    def call() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call


def turns(calls: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Median milliseconds of each round."""
    for call in calls.values():
        for _ in range(5):  # the first ones choose kernels and build engines
            call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            taken = []
            for _ in range(RUNS):
                before = time.perf_counter()
                call()
                taken.append((time.perf_counter() - before) * 1e3)
            found[name].append(statistics.median(taken))
    return found


def signed_int8(path: Path, pictures: NDArray[np.uint8], out: Path) -> None:
    """A QDQ file as TensorRT wants it: int8 on both sides, symmetric, weights per channel, biases in float."""
    prepared = prepare(onnx.load(path), raw=False)
    name = prepared.graph.input[0].name
    feeds = [{name: picture[None]} for picture in pictures]
    ranges = calibrate(prepared, activations(prepared, TENSORRT.operators), feeds, len(feeds))
    onnx.save(quantize(prepared, ranges.bounds["minmax"], TENSORRT), out)


if __name__ == "__main__":
    sys.exit(main())
