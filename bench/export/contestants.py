"""Who takes part: for one network, the files of each form, built once and kept in the work folder.

The reference is the plain float32 export in ONNX Runtime. Every quantizer is given the same calibration pictures. What
a peer cannot build is a row with its reason and does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from bench.export.forms import FORMS, export_plain, normalised
from bench.export.segxfiles import network_alone, segx_files
from bench.export.workers import Worker
from segx_core.datasets import Dataset
from segx_export.quiet import quiet
from segx_trainer.checkpoint import load_run

REFERENCE = "reference"
SEGX = ("int8", "w8", "auto", "fp32")
KEPT = {"INFERENCE_PRECISION_HINT": "f32"}
"""OpenVINO's setting that keeps it from computing float32 files in bfloat16."""


@dataclass(frozen=True)
class Contestant:
    """One line of a table."""

    name: str
    form: str
    runtime: str
    """Of worker.py."""
    path: Path
    config: dict[str, str] = field(default_factory=dict)
    note: str = ""
    """What a reader must know, for example the gate's verdict."""

    @property
    def size_bytes(self) -> int:
        """Of all its files; 0 for torch, whose checkpoint is no deploy file."""
        if self.runtime == "torch":
            return 0
        weights = self.path.with_suffix(".bin")  # OpenVINO's
        both = [self.path, weights] if self.path.suffix == ".xml" else [self.path]
        return sum(path.stat().st_size for path in both)


@dataclass(frozen=True)
class Inputs:
    """Files of NumPy's with pictures in each form, (N, ...) each."""

    calibration: dict[str, Path]
    picture: dict[str, Path]
    """One picture to take times with."""


Failures = dict[str, dict[str, str]]
"""By form and contestant: why it could not be built or loaded."""


def build(
    run: Path, tiles: Dataset, side: int, images: int, folder: Path, workers: dict[str, Worker]
) -> tuple[list[Contestant], Inputs, Failures]:
    """Every contestant of one network, in both forms, and those that could not be built.

    Args:
        run: a run folder with a checkpoint.
        tiles: crops of `side` x `side` with splits train and val.
        side: of the pictures.
        images: calibration pictures.
        folder: for the files; those that are there are taken.
        workers: by runtime; "openvino" may be missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inputs = write_inputs(run, tiles, images, folder)
    found = [*ours(run, tiles, images, folder)]
    failed: Failures = {}
    for form in FORMS:
        able, failed[form] = peers(run, form, side, folder, inputs, workers)
        found += able
    for pruned in sorted(run.glob("pruned-*")):
        below = folder / pruned.name
        for one in ours(pruned, tiles, images, below, ("int8", "fp32")):
            name = f"{pruned.name} {one.name.removeprefix('segx ')}"
            found.append(Contestant(name, one.form, one.runtime, one.path, one.config, one.note))
    return found, inputs, failed


def write_inputs(run: Path, tiles: Dataset, images: int, folder: Path) -> Inputs:
    """Calibration pictures and one to take times with, in each form."""
    network = load_run(run).network
    calibration = pictures_of(tiles, "train", images)
    held_out = pictures_of(tiles, "val", 1)
    made: dict[str, dict[str, Path]] = {"calibration": {}, "picture": {}}
    for kind, pictures in (("calibration", calibration), ("picture", held_out)):
        for form in FORMS:
            made[kind][form] = folder / f"{kind}-{form}.npy"
            np.save(made[kind][form], pictures if form == "deploy" else normalised(pictures, network))
    return Inputs(made["calibration"], made["picture"])


def ours(run: Path, tiles: Dataset, images: int, folder: Path, precisions: tuple[str, ...] = SEGX) -> list[Contestant]:
    """segx's files, each as deployed and as the network inside."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    files = segx_files(run, tiles, images, folder)
    for precision in precisions:
        file = files[precision]
        kept = f" (kept {file.precision})" if precision == "auto" else ""
        note = "" if file.verdict in ("passed", "ungated", "reference") else file.verdict
        inner = network_alone(file.path, len(tiles.classes), folder / f"segx-{precision}.network.onnx")
        found += [
            Contestant(f"segx {precision}{kept}", form, "ort", path, file.config, note)
            for form, path in (("network", inner), ("deploy", file.path))
        ]
    return found


def peers(
    run: Path, form: str, side: int, folder: Path, inputs: Inputs, workers: dict[str, Worker]
) -> tuple[list[Contestant], dict[str, str]]:
    """The reference and what others make of it; and why some could not."""
    plain, calibration = folder / f"plain.{form}.onnx", inputs.calibration[form]
    once(plain, lambda: export_plain(load_run(run).network, form, side, plain))
    found = [
        Contestant(REFERENCE, form, "ort", plain),
        Contestant("reference, again", form, "ort", plain),
        Contestant("torch eager", form, "torch", run, {"form": form}),
    ]
    failed = {}
    static, dynamic = folder / f"ort-static.{form}.onnx", folder / f"ort-dynamic.{form}.onnx"
    makers: list[tuple[str, str, Path, Callable[[], object]]] = [
        ("ONNX Runtime quantize_static", "ort", static, lambda: ort_static(plain, calibration, static)),
        ("ONNX Runtime quantize_dynamic", "ort", dynamic, lambda: ort_dynamic(plain, dynamic)),
    ]
    if "openvino" in workers:
        int8, ask = folder / f"openvino-int8.{form}.xml", workers["openvino"].ask
        makers += [
            ("OpenVINO fp32", "openvino", plain, lambda: None),
            (
                "OpenVINO int8 (NNCF)",
                "openvino",
                int8,
                lambda: ask("quantize", path=plain, pictures=calibration, out=int8),
            ),
        ]
    for name, runtime, path, make in makers:
        try:
            once(path, make)
        # A peer that cannot do something is a result of the bench, whatever its library raises.
        except Exception as error:  # noqa: BLE001
            failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            continue
        found.append(Contestant(name, form, runtime, path))
        if runtime == "openvino":
            found.append(Contestant(f"{name}, float32 kept", form, runtime, path, KEPT))
    return found, failed


def once(path: Path, make: Callable[[], object]) -> None:
    """Make a file unless it is there."""
    if not path.is_file():
        make()


def ort_static(plain: Path, pictures: Path, out: Path) -> None:
    """ONNX Runtime's static quantization as its page shows it: pre-processed, then every default."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Pictures one at a time."""

        def __init__(self, name: str) -> None:
            self.feeds = ({name: np.ascontiguousarray(one[None])} for one in np.load(pictures, mmap_mode="r"))

        def get_next(self) -> dict[str, NDArray[np.generic]] | None:
            """The next feed, or None at the end."""
            return next(self.feeds, None)

    prepared = out.with_suffix(".prepared")
    with quiet():
        quant_pre_process(plain, prepared)
        quantize_static(prepared, out, Reader(onnx.load(plain).graph.input[0].name))
    prepared.unlink()


def ort_dynamic(plain: Path, out: Path) -> None:
    """ONNX Runtime's dynamic quantization with unsigned weights: its CPU kernel for convolutions takes no others."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(plain, out, weight_type=QuantType.QUInt8)


def pictures_of(tiles: Dataset, split: str, most: int) -> NDArray[np.uint8]:
    """(N, S, S, 3) pictures of a split, spread evenly."""
    from bench.export.tiles import stack

    return stack(tiles, split, most)[0]
