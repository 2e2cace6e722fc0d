"""`segx export` past its options: runs it, shows the measured table, and says what to do with the file."""

from __future__ import annotations

import json
from pathlib import Path

from segx_core import atomic
from segx_core.progress import console
from segx_export.export import ExportRejectedError, ExportReport, ExportSettings, export_run
from segx_export.prune_run import prune_run
from segx_export.prune_settings import PruneReport, PruneSettings
from segx_export.qat_export import export_with_qat


def run_export(
    run: Path,
    settings: ExportSettings,
    document: Path | None,
    pruning: PruneSettings | None = None,
    qat_steps: int | None = None,
    qat_always: bool = False,
) -> None:
    """Export, show the table, and write the numbers to `document` if asked, also where the gate refused the file.

    With `pruning` the run is pruned first, and the pruned one is exported: the gate compares its files with itself.
    With `qat_steps` it is trained for int8 where that fails the gate, or `qat_always`.

    Raises:
        SegxError: from the export; ExportRejectedError after the table was shown.
    """
    pruned = None
    if pruning is not None:
        pruned = prune_run(run, pruning)
        run = pruned.folder
    try:
        if qat_steps is None:
            report = export_run(run, settings)
        else:
            report = export_with_qat(run, settings, qat_steps, qat_always)
    except ExportRejectedError as error:
        _show(error.report, document, pruned)
        raise
    _show(report, document, pruned)
    both = f"{report.files[0].path} {report.path}"
    console().print(f"Next: segx eval {both} --data DATA\n      segx serve {report.path}", soft_wrap=True)


def _show(report: ExportReport, document: Path | None, pruned: PruneReport | None) -> None:
    console().print(report.table())
    for note in report.notes:
        console().print(note)
    if report.page is not None:
        console().print(f"Report: {report.page}", markup=False, soft_wrap=True)
    values = report.to_json()
    if pruned is not None:
        values["pruned"] = pruned.to_json()
        for sentence in pruned.told():
            console().print(sentence, soft_wrap=True)
    if document:
        atomic.write_text(document, json.dumps(values, indent=2) + "\n")
