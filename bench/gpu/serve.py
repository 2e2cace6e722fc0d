"""The service on an NVIDIA GPU with an fp16 model: images a second beside a raw ONNX Runtime loop with IOBinding.

    python -m bench.gpu.serve [MODEL.onnx]

Without a model it exports a random U-Net-ResNet18. The raw loop copies a batch to the GPU, runs, copies class maps
back, one after the other, pictures decoded beforehand; copy and compute are also timed alone. The service gets 512x512
JPEGs. `overlap` is the share of the copies that the service hides behind compute: (serial - served) / copies per
picture; above 1 nothing is wrong, batches were then larger than the raw loop's best. Writes bench/gpu/serve.json;
without a working GPU it says "not run", writes nothing and exits 0.
"""

from __future__ import annotations

import argparse
import io
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
from PIL import Image

from bench.gpu.smoke import random_model
from bench.serve import client, places, processes
from bench.serve.contestants import SEGX, Contestant
from bench.serve.make_models import scene
from bench.serve.running import Server, start, stop
from segx_core import atomic, machine, runtime
from segx_core.card import Session
from segx_core.picture import decode
from segx_core.predictor import Predictor
from segx_export.half import to_half
from segx_export.modelfile import write_model

RESULT = Path(__file__).with_name("serve.json")
SIDE, PICTURES, PORT = 512, 8, 9380
BATCHES, CONNECTIONS = (1, 4, 8, 16), (1, 8, 32, 64)
ROUNDS, SECONDS = 3, 3.0


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    given: Path | None = parser.parse_args().model
    problem = runtime.trouble(runtime.CUDA)
    if problem is not None:
        print(f"not run: {problem[0]}. {problem[1]}")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = measure(half(given or random_model(folder), folder), "cuda")
    if result is None:
        print(f"The service did not start; see {places.logs()}", file=sys.stderr)
        return 1
    atomic.write_text(RESULT, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0


def half(path: Path, folder: Path) -> Path:
    """The fp16 form of a float32 file."""
    card = Predictor.load(path, provider="cpu").card
    out = folder / f"{path.stem}.fp16.onnx"
    write_model(to_half(onnx.load(path)), card.model_copy(update={"precision": "fp16", "session": Session()}), out)
    return out


def measure(path: Path, provider: str) -> dict[str, Any] | None:
    """Raw loop and service in turns; None where the service does not start."""
    files = [jpeg(scene(np.random.default_rng(seed), SIDE, SIDE)) for seed in range(PICTURES)]
    command = (places.segx_python(), "-m", "segx", "serve", str(path), "--port", "{port}", "--provider", provider)
    server = start("segx", Contestant(command, SEGX, ready="/v2/health/ready"), "gpu", PORT, picture=files[0])
    if server is None:
        return None
    predictor = Predictor.load(path, provider=provider)
    try:
        rounds = [(raw(predictor, files), served(server, files)) for _ in range(ROUNDS)]
    finally:
        stop(server)
    loops = [middle([one[0][index] for one in rounds]) for index in range(len(BATCHES))]
    loads = [middle([one[1][index] for one in rounds]) for index in range(len(CONNECTIONS))]
    best, most = min(loops, key=lambda row: row["serial_ms"]), max(loads, key=lambda row: row["images_per_second"])
    copies = best["serial_ms"] - best["compute_ms"]
    return {
        "machine": machine.describe(),
        "model": path.name,
        "provider": predictor.provider,
        "side": SIDE,
        "raw": loops,
        "served": loads,
        "service_to_raw": round(most["images_per_second"] * best["serial_ms"] / 1e3, 3),
        "overlap": round((best["serial_ms"] - 1e3 / most["images_per_second"]) / copies, 2) if copies > 0 else None,
    }


def raw(predictor: Predictor, files: list[bytes]) -> list[dict[str, float]]:
    """Milliseconds a picture of each batch size: compute alone, and copy, compute, copy in series."""
    device = "cuda" if predictor.provider == runtime.CUDA else "cpu"
    pixels = [decode(file) for file in files]
    rows = []
    for batch in BATCHES:
        host = np.stack([pixels[index % len(pixels)] for index in range(batch)])
        session = predictor.session
        binding = session.io_binding()
        resident = onnxruntime.OrtValue.ortvalue_from_numpy(host, device, 0)
        binding.bind_ortvalue_input(predictor.card.image.name, resident)
        binding.bind_output(predictor.card.prediction.name, device, 0)

        def compute(session: Any = session, binding: Any = binding) -> None:
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        def serial(
            resident: Any = resident, host: NDArray[np.uint8] = host, binding: Any = binding, session: Any = session
        ) -> None:
            resident.update_inplace(host)
            session.run_with_iobinding(binding)
            binding.copy_outputs_to_cpu()

        rows.append({"batch": batch, "compute_ms": timed(compute) / batch, "serial_ms": timed(serial) / batch})
    return rows


def timed(call: Callable[[], None], seconds: float = 1.0) -> float:
    """Median milliseconds of a call, after five that choose kernels."""
    for _ in range(5):
        call()
    times: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        start_of_call = time.perf_counter()
        call()
        times.append((time.perf_counter() - start_of_call) * 1e3)
    return float(np.median(times))


def served(server: Server, files: list[bytes]) -> list[dict[str, float]]:
    """The service under closed-loop load."""
    asks = [client.wire_format(SEGX.path, *SEGX.body(file)) for file in files]
    rows = []
    for connections in CONNECTIONS:
        cpu = processes.cpu(server.pid)
        seen = client.load(server.port, asks, connections, SECONDS, pause=0.05)
        good = len(seen.with_status(200))
        rows.append(
            {
                "connections": connections,
                "images_per_second": good / SECONDS,
                "p50_ms": seen.latency_ms(50) or 0.0,
                "p99_ms": seen.latency_ms(99) or 0.0,
                "cpu_ms": (processes.cpu(server.pid) - cpu) / max(good, 1) * 1e3,
                "refused_or_failed": len(seen.all) - good,
            }
        )
    return rows


def middle(rows: list[dict[str, float]]) -> dict[str, float]:
    """The median of each key."""
    return {key: round(float(np.median([row[key] for row in rows])), 3) for key in rows[0]}


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Quality 90."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
