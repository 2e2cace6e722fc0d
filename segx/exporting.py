"""`segx export` past its options: runs it, shows the measured table, and says what to do with the file."""

from __future__ import annotations

import json
from pathlib import Path

from segx_core import atomic
from segx_core.progress import console
from segx_export.export import ExportRejectedError, ExportReport, ExportSettings, export_run


def run_export(run: Path, settings: ExportSettings, document: Path | None) -> None:
    """Export, show the table, and write the numbers to `document` if asked, also where the gate refused the file.

    Raises:
        SegxError: from the export; ExportRejectedError after the table was shown.
    """
    try:
        report = export_run(run, settings)
    except ExportRejectedError as error:
        _show(error.report, document)
        raise
    _show(report, document)
    both = f"{run / 'model.fp32.onnx'} {report.path}"
    console().print(f"Next: segx eval {both} --data DATA\n      segx serve {report.path}", soft_wrap=True)


def _show(report: ExportReport, document: Path | None) -> None:
    console().print(report.table())
    for note in report.notes:
        console().print(note)
    if report.page is not None:
        console().print(f"Report: {report.page}", markup=False, soft_wrap=True)
    if document:
        atomic.write_text(document, json.dumps(report.to_json(), indent=2) + "\n")
