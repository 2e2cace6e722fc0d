"""From the float32 deploy model to the files that stay: build candidates, measure, judge, keep, write.

Read `compress` from top to bottom. How candidates are made (candidates) and judged (measure, gate) is each in a file
of its own; here is only the order of things and what becomes a file. It never sees torch or a run's checkpoint.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segx_core import machine, runtime
from segx_core.card import Gate, Measurement
from segx_core.confusion import iou
from segx_core.datasets import Dataset, spread
from segx_core.errors import DataError
from segx_core.predictor import Predictor
from segx_core.progress import console
from segx_core.runner import UInt8
from segx_export.candidates import Candidate, build
from segx_export.gate import judge
from segx_export.measure import Quality, latencies, quality
from segx_export.modelfile import write_model
from segx_export.parity import Parity
from segx_export.placement import placement
from segx_export.report import ExportRejectedError, ExportReport, FileReport
from segx_export.settings import ExportSettings

REFERENCE = "model.fp32.onnx"
"""The float file's name in the run folder; it stands there whatever was asked for."""

_CLEARLY = 0.98  # `auto` prefers another file to fp32 only if it takes less than this share of its time


def compress(
    reference: Candidate,
    parity: Parity,
    run: Path,
    settings: ExportSettings,
    dataset: Dataset | None,
    stem: str = "model",
) -> ExportReport:
    """Write `run`/`stem`.fp32.onnx and the file that was asked for.

    Args:
        reference: the float32 deploy model with its card.
        parity: how it compared with torch, or with the file it was made of; for the report.
        run: folder for the files.
        settings: what was asked for.
        dataset: to calibrate and judge on; None only where `settings` need neither.
        stem: what names of files begin with.

    Raises:
        ExportRejectedError: every candidate lost too much; the first one stands on the disk, marked rejected.
        DataError, SetupError: as `export_run`.
    """
    model = reference.model
    reference_path = run / f"{stem}.fp32.onnx"
    write_model(model, reference.card, reference_path)  # stands even if a later step fails
    files = [_describe("fp32", reference, Gate(status="reference" if settings.gate else "ungated"))]
    built: dict[str, Candidate] = {"fp32": reference}
    attempts, notes = _attempts(settings)
    # `auto` builds all and measures them in turns; otherwise the next one is built only if this one is refused.
    groups = [attempts] if settings.precision == "auto" or not attempts else [(name,) for name in attempts]
    with tempfile.TemporaryDirectory(prefix=".export-", dir=run) as folder:
        for group in groups:
            for name in group:
                _say(f"building {name}")
                images = settings.calibration_images
                built[name] = build(name, model, reference.card, dataset, images, settings.max_drop)
                notes += built[name].notes
            candidates = {name: built[name] for name in ("fp32", *group)}
            found = _measure(candidates, settings, dataset, Path(folder)) if settings.gate else _ungated(candidates)
            files = [found[0], *files[1:], *found[1:]]
            notes += [f"{file.precision}: {reason}" for file in found for reason in file.gate.reasons]
            if any(file.gate.status != "rejected" for file in found[1:]):
                break
    kept = _choose(files, settings)
    path = settings.out or run / f"{stem}.{kept.precision}.onnx"
    files = _write(files, built, kept, path, reference_path)
    report = ExportReport(kept.precision, path, tuple(files), parity, machine.describe(), tuple(notes))
    if kept.gate.status == "rejected":
        raise ExportRejectedError(
            report,
            f"a {kept.precision} file that loses at most {settings.max_drop:g} points of mean IoU",
            "; ".join(notes),
            f"{path} is marked rejected (segx serve wants --force for it); {reference_path} is whole. "
            "Raise --max-drop, train longer, or keep fp32.",
        )
    return report


def _say(text: str) -> None:
    console().print(f"export: {text}", markup=False, soft_wrap=True)


def _attempts(settings: ExportSettings) -> tuple[tuple[str, ...], list[str]]:
    """The precisions to build, and what to say of those left out: `auto` tries fp16 only where CUDA answers."""
    if settings.precision != "auto" or (settings.provider != "cpu" and runtime.trouble(runtime.CUDA) is None):
        return settings.attempts, []
    return tuple(name for name in settings.attempts if name != "fp16"), ["fp16: not tried, it is for CUDA"]


def _ungated(candidates: dict[str, Candidate]) -> list[FileReport]:
    return [_describe(name, candidate, Gate(status="ungated")) for name, candidate in candidates.items()]


def _measure(
    candidates: dict[str, Candidate], settings: ExportSettings, dataset: Dataset | None, folder: Path
) -> list[FileReport]:
    """Write the files to `folder`, run them side by side on held-out pictures, judge all but the first."""
    assert dataset is not None
    names = list(candidates)
    paths = [folder / f"{name}.onnx" for name in names]
    for name, path in zip(names, paths, strict=True):
        write_model(candidates[name].model, candidates[name].card, path)
    runners = [Predictor.load(path, provider=settings.provider) for path in paths]
    samples = spread(dataset.split(settings.split), settings.gate_images)
    found = quality(runners, dataset, samples, f"judging {' and '.join(names)} on '{settings.split}'")
    picture = dataset.read(samples[0])[0]
    times = latencies(runners, picture)
    return [
        _judged(name, candidates[name], runner, index, found, times, picture, settings, dataset)
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
