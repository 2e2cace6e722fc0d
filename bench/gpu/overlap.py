"""What the service's own way to a GPU gains, without HTTP: copies hidden behind runs, and recorded runs.

    python -m bench.gpu.overlap [MODEL.onnx]

Without a model it exports a random U-Net-ResNet18; the fp16 form is measured, on 512x512 pictures. `raw` is one thread
that copies a batch to the GPU with ONNX Runtime's binding, runs it and copies class maps back; `compute` the run
alone. Then DeviceRunner from one thread, from two, and from two with recorded runs. `hidden` is the share of the copies
that no longer costs time with two threads: (raw - two) / (raw - compute). Everything is taken in turns. Writes
bench/gpu/overlap.json; without a working GPU it says "not run", writes nothing and exits 0; class maps that differ
from Predictor's on more than one pixel in a thousand make it exit 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bench.gpu.serve import half
from bench.gpu.smoke import AGREEMENT, SIDE, pictures, random_model
from segx_core import atomic, machine, runtime
from segx_core.predictor import Predictor
from segx_core.runner import Runner
from segx_serve.gpu_memory import GpuMemory
from segx_serve.loading import load
from segx_serve.settings import Settings

RESULT = Path(__file__).with_name("overlap.json")
BATCHES, ROUNDS, SECONDS = (1, 4, 8, 16), 5, 1.0


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
        path = half(given or random_model(Path(name)), Path(name))
        predictor = Predictor.load(path, provider="cuda")
        plain = load(path, Settings(), "cuda", None, True)
        recorded = load(path, Settings(cuda_graphs=((SIDE, SIDE),)), "cuda", None, True)
        rows = measure(predictor, "cuda", plain, recorded)
        memory = GpuMemory().used()
    result = {"machine": machine.describe(), "model": path.name, "side": SIDE, "gpu_bytes": memory, "results": rows}
    atomic.write_text(RESULT, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0 if all(row["agreement"] >= AGREEMENT for row in rows) else 1


def measure(
    predictor: Predictor,
    device: str,
    plain: Runner,
    recorded: Runner,
    batches: Sequence[int] = BATCHES,
    seconds: float = SECONDS,
) -> list[dict[str, Any]]:
    """A row for each size of batch; times are milliseconds a picture."""
    rows = []
    for count in batches:
        some = pictures()
        batch = np.ascontiguousarray(np.resize(some, (count, *some.shape[1:])))
        wanted = predictor.run(batch)
        agreement = min(float((runner.run(batch) == wanted).mean()) for runner in (plain, recorded))
        compute, serial = raw(predictor, device, batch)
        ways: dict[str, tuple[Callable[[], object], int]] = {
            "compute": (compute, 1),
            "raw": (serial, 1),
            "one": (lambda batch=batch: plain.run(batch), 1),  # type: ignore[misc]
            "two": (lambda batch=batch: plain.run(batch), 2),  # type: ignore[misc]
            "recorded": (lambda batch=batch: recorded.run(batch), 2),  # type: ignore[misc]
        }
        rounds = [{name: timed(*way, seconds) for name, way in ways.items()} for _ in range(ROUNDS)]
        row: dict[str, Any] = {"batch": count, "agreement": agreement}
        for name in ways:
            taken = [times for one in rounds for times in one[name].taken]
            row[name] = {
                "ms_per_picture": round(float(np.median([one[name].each for one in rounds])) / count, 4),
                "p50_ms": round(float(np.percentile(taken, 50)), 3),
                "p99_ms": round(float(np.percentile(taken, 99)), 3),
            }
        each = {name: row[name]["ms_per_picture"] for name in ways}
        copies = each["raw"] - each["compute"]
        row["hidden"] = round((each["raw"] - each["two"]) / copies, 2) if copies > 0 else None
        row["share_of_raw"] = round(each["raw"] / each["two"], 3)
        rows.append(row)
    return rows


def raw(predictor: Predictor, device: str, batch: NDArray[np.uint8]) -> tuple[Callable[[], None], Callable[[], None]]:
    """The run alone, and copy, run, copy one after the other."""
    session, name = predictor.session, predictor.card.image.name
    binding = session.io_binding()
    resident = onnxruntime.OrtValue.ortvalue_from_numpy(batch.copy(), device, 0)
    binding.bind_ortvalue_input(name, resident)
    binding.bind_output(predictor.card.prediction.name, device, 0)

    def compute() -> None:
        session.run_with_iobinding(binding)

    def serial() -> None:
        resident.update_inplace(batch)
        session.run_with_iobinding(binding)
        binding.copy_outputs_to_cpu()

    return compute, serial


class Times:
    """Milliseconds: of each call, and of the whole divided by the number of calls."""

    def __init__(self, taken: list[float], each: float) -> None:
        self.taken = taken
        self.each = each


def timed(call: Callable[[], object], threads: int, seconds: float) -> Times:
    """Call from so many threads at once for some seconds, after three calls each that choose kernels."""
    taken: list[float] = []
    gate = threading.Barrier(threads + 1)
    end = [0.0]

    def work() -> None:
        for _ in range(3):
            call()
        gate.wait()
        while time.perf_counter() < end[0]:
            began = time.perf_counter()
            call()
            taken.append((time.perf_counter() - began) * 1e3)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    end[0] = time.perf_counter() + 3600  # set anew once everybody is warm
    gate.wait()
    began = time.perf_counter()
    end[0] = began + seconds
    for worker in workers:
        worker.join()
    return Times(taken, (time.perf_counter() - began) * 1e3 / len(taken))


if __name__ == "__main__":
    sys.exit(main())
