"""From the float32 deploy model to the files that stay: build candidates, measure, judge, keep, write.

Read `compress` from top to bottom. How candidates are made (candidates) and judged (measure, gate) is each in a file
of its own; here is only the order of things and what becomes a file. It never sees torch or a run's checkpoint.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from segx_core import machine, runtime
from segx_core.card import Gate
from segx_core.datasets import Dataset
from segx_core.progress import console
from segx_export.candidates import Candidate, build
from segx_export.judging import describe, judge_all
from segx_export.modelfile import write_model
from segx_export.parity import Parity
from segx_export.report import ExportRejectedError, ExportReport, FileReport
from segx_export.report_page import page_path, shown, write_report
from segx_export.report_pictures import StripPicture
from segx_export.settings import ExportSettings

REFERENCE = "model.fp32.onnx"
"""The float file's name in the run folder; it stands there whatever was asked for."""

_NOT_AT_HOME = "{}: its speed here says nothing, it was not measured on its own provider beside fp32 (not run)"
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
    files = [describe("fp32", reference, Gate(status="reference" if settings.gate else "ungated"))]
    built: dict[str, Candidate] = {"fp32": reference}
    strips: dict[str, tuple[StripPicture, ...]] = {}
    attempts, notes = _attempts(settings)
    # `auto` builds all and measures them in turns; otherwise the next one is built only if this one is refused.
    groups = [attempts] if settings.precision == "auto" or not attempts else [(name,) for name in attempts]
    with tempfile.TemporaryDirectory(prefix=".export-", dir=run) as folder:
        for group in groups:
            for name in group:
                _say(f"building {name}")
                built[name] = build(name, reference, dataset, settings.calibration_images, settings.max_drop)
                notes += built[name].notes
            candidates = {name: built[name] for name in ("fp32", *group)}
            if settings.gate:
                assert dataset is not None
                found, pictures = judge_all(candidates, settings, dataset, Path(folder))
                strips |= pictures
            else:
                found = [describe(name, candidate, Gate(status="ungated")) for name, candidate in candidates.items()]
            files = [found[0], *files[1:], *found[1:]]
            notes += [f"{file.precision}: {reason}" for file in found for reason in file.gate.reasons]
            notes += [_NOT_AT_HOME.format(file.precision) for file in found if not file.at_home]
            if any(file.gate.status != "rejected" for file in found[1:]):
                break
    kept = choose(files, settings)
    path = settings.out or run / f"{stem}.{kept.precision}.onnx"
    files = _write(files, built, kept, path, reference_path)
    page = page_path(path) if settings.gate else None
    report = ExportReport(kept.precision, path, tuple(files), parity, machine.describe(), tuple(notes), page)
    if page is not None:
        write_report(page, report, strips[files[shown(report)].precision], built[kept.precision].card)
    if kept.gate.status == "rejected":
        raise ExportRejectedError(
            report,
            f"a {kept.precision} file that passes the gate",
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


def choose(files: list[FileReport], settings: ExportSettings) -> FileReport:
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
