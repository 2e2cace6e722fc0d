"""`segx export` past its options: runs it, shows the measured table, and says what to do with the file."""

from __future__ import annotations

import json
from pathlib import Path

from segx_core import atomic
from segx_core.progress import console
from segx_export.export import ExportRejectedError, ExportReport, ExportSettings, export_run
from segx_export.prune_run import prune_run
from segx_export.prune_settings import PruneReport, PruneSettings


def run_export(
    run: Path, settings: ExportSettings, document: Path | None, pruning: PruneSettings | None = None
) -> None:
    """Export, show the table, and write the numbers to `document` if asked, also where the gate refused the file.

    With `pruning` the run is pruned first, and the pruned one is exported: the gate compares its files with itself.

    Raises:
        SegxError: from the export; ExportRejectedError after the table was shown.
    """
    pruned = None
    if pruning is not None:
        pruned = prune_run(run, pruning)
        run = pruned.folder
    try:
        report = export_run(run, settings)
    except ExportRejectedError as error:
        _show(error.report, document, pruned)
        raise
    _show(report, document, pruned)
    both = f"{run / 'model.fp32.onnx'} {report.path}"
    console().print(f"Next: segx eval {both} --data DATA\n      segx serve {report.path}", soft_wrap=True)


def _show(report: ExportReport, document: Path | None, pruned: PruneReport | None) -> None:
    console().print(report.table())
    for note in report.notes:
        console().print(note)
    values = report.to_json()
    if pruned is not None:
        values["pruned"] = pruned.to_json()
        for sentence in pruned.told():
            console().print(sentence, soft_wrap=True)
    if document:
        atomic.write_text(document, json.dumps(values, indent=2) + "\n")
