"""A finished run to ONNX files: float32 always, one more precision where asked, each measured, judged and labelled.

Read `export_run` from top to bottom. How graphs are made (deploy, quantize, weights, half) and how they are judged
(parity, measure, gate) is each in a file of its own; here is only the order of things and what becomes a file.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segx_core import machine
from segx_core.card import Card, Gate, Measurement
from segx_core.confusion import iou
from segx_core.datasets import Dataset, open_dataset
from segx_core.errors import DataError, GateError, ModelError, SetupError
from segx_core.predictor import Predictor
from segx_core.progress import console
from segx_core.runner import UInt8
from segx_export.candidates import Candidate, build, spread
from segx_export.deploy import deploy_card, deploy_model
from segx_export.gate import judge
from segx_export.measure import Quality, latencies, quality
from segx_export.modelfile import write_model
from segx_export.parity import check_parity
from segx_export.placement import placement
from segx_export.report import ExportReport, FileReport
from segx_export.settings import ExportSettings
from segx_trainer.checkpoint import BEST, load_run

__all__ = ["ExportReport", "ExportSettings", "export_run"]

_CLEARLY = 0.98  # `auto` prefers another file to fp32 only if it takes less than this share of its time


def export_run(run: Path, settings: ExportSettings = ExportSettings()) -> ExportReport:  # noqa: B008 (frozen)
    """Export the best weights of a run.

    Writes RUN/model.fp32.onnx and the file asked for, each with its card inside. A file the gate refused is written
    too, marked rejected, before GateError is raised.

    Raises:
        ModelError: `run` is no run folder, or has no usable checkpoint.
        DataError: no data, no held-out split, other classes than the run's.
        SetupError: nowhere to write, or the provider asked for does not load.
        GateError: the graph does not compute the network, or every candidate lost too much.
    """
    _check_place(run, settings.out)
    loaded = load_run(run)
    dataset = _dataset(loaded.card, settings)

    _say(f"tracing the network to ONNX (opset {settings.opset}); this takes a while")
    model = deploy_model(loaded.network, settings.outputs, settings.opset)
    parity = check_parity(loaded.network, model)
    _say(
        f"torch and ONNX Runtime agree: logits within {parity.logits_difference:.1g}, {parity.agreement:.4%} of pixels"
    )
    reference = Candidate(model, deploy_card(loaded.card, settings.outputs, settings.opset))
    reference_path = run / "model.fp32.onnx"
    write_model(model, reference.card, reference_path)  # stands even if a later step fails

    files = [_describe("fp32", reference, Gate(status="ungated"))]
    built: dict[str, Candidate] = {"fp32": reference}
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix=".export-", dir=run) as folder:
        if settings.gate and dataset is not None:
            files = _measure(built, settings, dataset, Path(folder))
        for precision in _attempts(settings, notes):
            _say(f"building {precision}")
            assert dataset is not None or precision != "int8"
            built[precision] = build(precision, model, reference.card, dataset, settings.calibration_images)
            if settings.gate and dataset is not None:
                pair = {"fp32": reference, precision: built[precision]}
                files = [*files, _measure(pair, settings, dataset, Path(folder))[1]]
            else:
                files.append(_describe(precision, built[precision], Gate(status="ungated")))
            status = files[-1].gate.status
            notes.extend(f"{precision}: {reason}" for reason in files[-1].gate.reasons)
            if settings.precision != "auto" and status != "rejected":
                break
    kept = _choose(files, settings)
    path = settings.out or run / f"model.{kept.precision}.onnx"
    files = _write(files, built, kept, path, reference_path)
    report = ExportReport(kept.precision, path, tuple(files), parity, machine.describe(), tuple(notes))
    if kept.gate.status == "rejected":
        raise GateError(
            f"a quantized file that loses at most {settings.max_drop:g} points of mean IoU",
            "; ".join(notes),
            f"{path} is marked rejected (segx serve wants --force for it); {reference_path} is whole. "
            "Raise --max-drop, train longer, or keep fp32.",
        )
    return report


def _say(text: str) -> None:
    console().print(f"export: {text}", markup=False, soft_wrap=True)


def _check_place(run: Path, out: Path | None) -> None:
    """Fail before the work, not after it."""
    if not run.is_dir():
        raise ModelError("a run folder of `segx train`", f"no such folder: {run}", "Check the path.")
    if not (run / BEST).is_file():
        raise ModelError(
            f"a run folder of `segx train`, with {BEST}", f"none in {run}", "Train first: segx train DATA --out RUN."
        )
    for folder in {run, (out or run / "file").absolute().parent}:
        present = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        if not present.is_dir() or not os.access(present, os.W_OK):
            raise SetupError(f"to write into {folder}", "no permission to", "Choose another --out, or mend its rights.")


def _dataset(card: Card, settings: ExportSettings) -> Dataset | None:
    """The data to calibrate and judge on; None where neither is needed."""
    if not settings.gate and "int8" not in settings.attempts:
        return None
    source = settings.data or (card.training.data if card.training else None)
    if source is None:
        raise DataError("data to judge the file on", "a run whose card names none", "Name it with --data.")
    try:
        dataset = open_dataset(source)
    except DataError as error:
        raise DataError(
            error.expected,
            error.got,
            f"{error.cure} Name the data with --data, or skip measuring with --no-gate.".strip(),
        ) from error
    if dataset.classes != card.classes:
        raise DataError(
            f"the run's classes in {source}: {', '.join(card.classes)}", ", ".join(dataset.classes), "Use other --data."
        )
    if settings.gate and not dataset.split(settings.split):
        raise DataError(f"held-out pictures in the split '{settings.split}' of {source}", "none", "Use --no-gate.")
    return dataset


def _attempts(settings: ExportSettings, notes: list[str]) -> tuple[str, ...]:
    """The precisions to build; `auto` tries fp16 only where CUDA answers."""
    if settings.precision != "auto":
        return settings.attempts
    from segx_core.runtime import CUDA, trouble

    if settings.provider == "cpu" or trouble(CUDA) is not None:
        notes.append("fp16: not tried, it is for CUDA")
        return tuple(name for name in settings.attempts if name != "fp16")
    return settings.attempts


def _measure(pair: dict[str, Candidate], settings: ExportSettings, dataset: Dataset, folder: Path) -> list[FileReport]:
    """Write the files to `folder`, run them side by side on held-out pictures, judge all but the first."""
    names = list(pair)
    paths = [folder / f"{name}.onnx" for name in names]
    for name, path in zip(names, paths, strict=True):
        write_model(pair[name].model, pair[name].card, path)
    last = Predictor.load(paths[-1], provider=settings.provider)
    runners = [*(Predictor.load(path, provider=last.provider) for path in paths[:-1]), last]
    samples = spread(dataset.split(settings.split), settings.gate_images)
    found = quality(runners, dataset, samples, f"judging {names[-1]} on '{settings.split}'")
    picture = dataset.read(samples[0])[0]
    times = latencies(runners, picture)
    return [
        _judged(name, pair[name], runner, index, found, times, picture, settings, dataset)
        for index, (name, runner) in enumerate(zip(names, runners, strict=True))
    ]


def _judged(
    name: str,
    candidate: Candidate,
    runner: Predictor,
    index: int,
    found: Quality,
    times: Sequence[float],
    picture: UInt8,
    settings: ExportSettings,
    dataset: Dataset,
) -> FileReport:
    """One file's row and verdict."""
    matrix = found.matrices[index]
    if math.isnan(found.miou[0]):
        raise DataError(f"labelled pixels in the split '{settings.split}'", "only ignored ones", "Check the masks.")
    row = Measurement(
        precision=name,
        provider=runner.provider,
        machine=machine.summary(),
        split=settings.split,
        images=found.images,
        miou=found.miou[index],
        per_class_iou={
            label: None if math.isnan(value) else float(value)
            for label, value in zip(dataset.classes, iou(matrix), strict=True)
        },
        latency_ms=times[index],
        size_bytes=runner.size_bytes,
        height=picture.shape[0],
        width=picture.shape[1],
    )
    if index == 0:
        return replace(_describe(name, candidate, Gate(status="reference")), measurement=row)
    kernels = placement(candidate.model, candidate.card.session)
    defects = ["ONNX Runtime uses no int8 kernel for it"] if name == "int8" and not kernels.int8 else []
    verdict = judge(found.matrices[0], matrix, dataset.classes, settings.max_drop, found.agreement[index], defects)
    return replace(
        _describe(name, candidate, verdict.gate),
        measurement=row,
        placement=kernels,
        drop=verdict.drop,
        worst_class=verdict.worst_class,
        worst_drop=verdict.worst_drop,
        agreement=verdict.agreement,
    )


def _describe(precision: str, candidate: Candidate, gate: Gate) -> FileReport:
    return FileReport(precision, None, candidate.model.ByteSize(), gate)


def _choose(files: list[FileReport], settings: ExportSettings) -> FileReport:
    """The file the user gets: the fastest good one for `auto`, else the last good attempt, else the first refused."""
    attempts = files[1:]
    if not attempts:
        return files[0]
    good = [file for file in attempts if file.gate.status != "rejected"]
    if settings.precision != "auto":
        return good[0] if good else attempts[0]
    base = files[0].measurement
    if base is None:  # nothing was measured, so nothing is known to be faster
        return files[0]
    timed = [(file.measurement.latency_ms, file) for file in good if file.measurement is not None]
    fast = [(time, file) for time, file in timed if time < _CLEARLY * base.latency_ms]
    return min(fast, key=lambda item: item[0])[1] if fast else files[0]


def _write(
    files: list[FileReport], built: dict[str, Candidate], kept: FileReport, path: Path, reference_path: Path
) -> list[FileReport]:
    """Write the files that stay, each card with its verdict and every measured row."""
    rows = tuple(file.measurement for file in files if file.measurement is not None)
    places = {"fp32": [reference_path]}
    places.setdefault(kept.precision, []).append(path)
    final = []
    for file in files:
        targets = list(dict.fromkeys(places.get(file.precision, [])))
        candidate = built[file.precision]
        card = candidate.card.model_copy(update={"measurements": rows, "gate": file.gate})
        for target in targets:
            write_model(candidate.model, card, target)
            _say(f"wrote {target} ({target.stat().st_size / 1e6:.2f} MB, {file.gate.status})")
        size = targets[0].stat().st_size if targets else file.size_bytes
        final.append(replace(file, path=targets[-1] if targets else None, size_bytes=size))
    return final
