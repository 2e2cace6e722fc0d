"""One runtime in a process of its own: loads models, and answers how long a run takes and what comes out.

    python -m bench.export.worker ort|openvino|torch        (workers.py does; JSON lines on stdin and stdout)

Standard library and NumPy, because OpenVINO's environment has nothing else of segx; a runtime is imported when it is
asked for. One thread, one picture at a time. It knows no network, no quality and no other contestant.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[Any], Any]
"""One picture in the model's own form, batch axis included -> its first output as an array."""


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    loaded: dict[str, Call] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = reply(request, loaded, sys.argv[1])
        # A peer that cannot do something is a result of the bench, whatever its library raises.
        except Exception as error:  # noqa: BLE001
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        print(json.dumps(answer), file=answers, flush=True)


def reply(request: dict[str, Any], loaded: dict[str, Call], runtime: str) -> dict[str, Any]:
    """One answer. Requests name models; pictures and class maps travel as files of NumPy's."""
    match request["do"]:
        case "version":
            return {"versions": versions(runtime)}
        case "load":
            loaded[request["name"]], note = load(runtime, request["path"], request["config"])
            return {"note": note}
        case "time":
            pictures = np.load(request["pictures"], mmap_mode="r")
            return timed(loaded[request["name"]], pictures, request["runs"])
        case "maps":
            pictures = np.load(request["pictures"], mmap_mode="r")
            call = loaded[request["name"]]
            np.save(request["out"], np.concatenate([np.asarray(call(np.array(picture[None]))) for picture in pictures]))
            return {}
        case "quantize":
            nncf_quantize(request["path"], request["pictures"], request["out"])
            return {}
        case other:
            raise ValueError(other)


def timed(call: Call, pictures: Any, runs: int) -> dict[str, Any]:
    """Milliseconds of `runs` runs by the clock and by the process's processor time, after one that warms the caches."""
    batch = np.array(pictures[:1])
    call(batch)
    wall, cpu = [], []
    for _ in range(runs):
        processor, clock = time.process_time(), time.perf_counter()
        call(batch)
        wall.append((time.perf_counter() - clock) * 1e3)
        cpu.append((time.process_time() - processor) * 1e3)
    return {"ms": wall, "cpu_ms": cpu}


def load(runtime: str, path: str, config: dict[str, str]) -> tuple[Call, str]:
    """A model, ready to run with one thread, and what a reader must know of how it computes."""
    match runtime:
        case "ort":
            return load_ort(path, config), ""
        case "openvino":
            return load_openvino(path, config)
        case _:
            return load_torch(path, config["form"]), ""


def load_ort(path: str, config: dict[str, str]) -> Call:
    """ONNX Runtime's CPU provider with its defaults, and the session entries the file wants."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for key, value in config.items():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    source, target = session.get_inputs()[0].name, session.get_outputs()[0].name
    return lambda batch: session.run([target], {source: batch})[0]


def load_openvino(path: str, config: dict[str, str]) -> tuple[Call, str]:
    """OpenVINO's CPU plugin: one stream, one thread, tuned for latency.

    Where the processor has bfloat16, the plugin computes float32 files in it unless told otherwise; the note says so.
    """
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, **config}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    floats = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return (lambda batch: compiled(batch)[0]), "" if config else f"floats as {floats}"


def load_torch(path: str, form: str) -> Call:
    """torch as it stands, from a run folder."""
    import torch

    from bench.export.forms import module
    from segx_trainer.checkpoint import load_run

    torch.set_num_threads(1)
    network = module(load_run(Path(path)).network, form).eval()

    def call(batch: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(batch)).numpy()

    return call


def nncf_quantize(path: str, pictures: str, out: str) -> None:
    """NNCF's post-training quantization of an ONNX file with its default settings, saved as OpenVINO saves."""
    import nncf
    import openvino

    batches = np.load(pictures, mmap_mode="r")
    data = nncf.Dataset([np.array(picture[None]) for picture in batches])
    quantized = nncf.quantize(openvino.Core().read_model(path), data, subset_size=len(batches))
    openvino.save_model(quantized, out)


def versions(runtime: str) -> dict[str, str]:
    """Names and versions of what does the work."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in {"ort": ["onnxruntime", "onnxruntime-gpu"], "openvino": ["openvino", "nncf"]}.get(runtime, ["torch"]):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
