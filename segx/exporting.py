"""`segx export` past its options: runs it, shows the measured table, and says what to do with the file."""

from __future__ import annotations

import json
from pathlib import Path

from segx_core import atomic
from segx_core.errors import ConfigError
from segx_core.progress import console
from segx_export.export import ExportRejectedError, ExportReport, ExportSettings, export_run
from segx_export.foreign import export_onnx
from segx_export.hub.address import is_address


def run_export(
    source: str, settings: ExportSettings, document: Path | None, card: Path | None = None, deploy: bool = False
) -> None:
    """Export, show the table, and write the numbers to `document` if asked, also where the gate refused the file.

    Args:
        source: a run folder, an ONNX file, or a network of a hub.
        settings: what is asked for.
        document: file for the numbers.
        card: describes an ONNX file that carries none.
        deploy: an ONNX file gets the form of a run's files.

    Raises:
        SegxError: from the export; ExportRejectedError after the table was shown.
    """
    try:
        report = _export(source, settings, card, deploy)
    except ExportRejectedError as error:
        _show(error.report, document)
        raise
    _show(report, document)
    both = dict.fromkeys(str(path) for path in (report.files[0].path, report.path) if path is not None)
    console().print(f"Next: segx eval {' '.join(both)} --data DATA\n      segx serve {report.path}", soft_wrap=True)


def _export(source: str, settings: ExportSettings, card: Path | None, deploy: bool) -> ExportReport:
    if source.endswith(".onnx"):
        return export_onnx(Path(source), card, settings, deploy=deploy)
    if card is not None or deploy:
        raise ConfigError("--card and --deploy with an ONNX file", f"them with {source}", "Leave them out.")
    if is_address(source):
        from segx_export.hub.export import export_hub  # a hub's libraries take seconds to load

        return export_hub(source, settings)
    return export_run(Path(source), settings)


def _show(report: ExportReport, document: Path | None) -> None:
    console().print(report.table())
    for note in report.notes:
        console().print(note)
    if document:
        atomic.write_text(document, json.dumps(report.to_json(), indent=2) + "\n")
