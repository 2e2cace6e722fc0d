"""Exports a run to int8, training it for that where the plain way fails the gate. Knows the order, nothing of how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segx_core import atomic
from segx_core.errors import ConfigError
from segx_core.progress import console
from segx_export.export import ExportRejectedError, ExportReport, ExportSettings, export_run
from segx_export.qat_run import qat_run


def export_with_qat(run: Path, settings: ExportSettings, steps: int, always: bool = False) -> ExportReport:
    """Export as `export_run`; if int8 is refused, or `always`, fine-tune for it and export RUN/qat instead.

    What fine-tuning itself costs or gains counts: the gate of the second export allows `settings.max_drop` points less
    what the float network lost, so that int8 is held against the float network of `run`, not against its own.

    Args:
        run: a folder of `segx train`.
        settings: their precisions must include int8.
        steps: updates of fine-tuning.
        always: whether to fine-tune without trying first.

    Raises:
        ConfigError: int8 is not among the precisions, or nothing would be measured that says whether to fine-tune.
        ExportRejectedError: int8 was refused again; and all that `export_run` and `qat_run` raise.
    """
    if "int8" not in settings.attempts:
        raise ConfigError("int8 among the files to write with --qat-steps", "none", "Add --quantize.")
    if not always and not settings.gate:
        raise ConfigError("a gate that says whether int8 needs --qat-steps", "--no-gate", "Add --qat-always.")
    first: ExportReport | None = None
    if not always:
        try:
            first = report = export_run(run, settings)
        except ExportRejectedError as error:
            report = error.report
        if any(file.precision == "int8" and file.gate.status == "passed" for file in report.files):
            _say("int8 passed the gate as it is")
            return report
        _say(f"int8 was refused; training {steps} steps for it")
    tuned = qat_run(run, steps, settings.data, settings.split)
    told = (
        f"int8: trained for it, {steps} steps; the float network went from {tuned.miou[0]:.4f} to {tuned.miou[1]:.4f} "
        f"mean IoU, so {settings.max_drop - tuned.drop:.2f} points may go in int8"
    )
    _say(told)
    # int8 alone, and into the tuned run's folder first: a good w8 of the first export must not be lost to a bad int8.
    second = replace(settings, precision="int8", quantize=False, out=None, max_drop=settings.max_drop - tuned.drop)
    try:
        report = export_run(tuned.folder, second)
    except ExportRejectedError:
        if first is None:
            raise
        return replace(first, notes=(*first.notes, told, "int8: refused after training for it, too"))
    if settings.out is not None and report.path != settings.out:
        atomic.write_bytes(settings.out, report.path.read_bytes())
        report = replace(report, path=settings.out)
    return replace(report, notes=(*report.notes, told))


def _say(text: str) -> None:
    console().print(f"qat: {text}", markup=False, soft_wrap=True)
