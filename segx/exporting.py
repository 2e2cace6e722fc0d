"""`segx export` past its options: runs it, shows the measured table, and says what to do with the file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from segx_core import atomic
from segx_core.errors import ConfigError
from segx_core.progress import console
from segx_export.deploy import OPSET
from segx_export.export import ExportRejectedError, ExportReport, ExportSettings, export_run
from segx_export.foreign import export_onnx
from segx_export.hub.address import is_address
from segx_export.prune_run import prune_run
from segx_export.prune_settings import PruneReport, PruneSettings
from segx_export.qat_export import export_with_qat


@dataclass(frozen=True)
class Extras:
    """What goes with some sources only."""

    card: Path | None = None
    """Describes an ONNX file that carries no card."""
    deploy: bool = False
    """An ONNX file gets the form of a run's files."""
    pruning: PruneSettings | None = None
    """A run is pruned first, and the pruned one is exported: the gate compares its files with itself."""
    qat_steps: int | None = None
    """A run is trained for int8 where that fails the gate, or `qat_always`."""
    qat_always: bool = False


def run_export(source: str, settings: ExportSettings, document: Path | None, extras: Extras) -> None:
    """Export, show the table, and write the numbers to `document` if asked, also where the gate refused the file.

    Args:
        source: a run folder, an ONNX file, or a network of a hub.
        settings: what is asked for.
        document: file for the numbers.
        extras: what goes with some sources only.

    Raises:
        ConfigError: an extra that does not go with the source.
        SegxError: from the export; ExportRejectedError after the table was shown.
    """
    is_file, is_run = source.endswith(".onnx"), not source.endswith(".onnx") and not is_address(source)
    if (extras.card is not None or extras.deploy) and not is_file:
        raise ConfigError("--card and --deploy with an ONNX file", f"them with {source}", "Leave them out.")
    if (extras.pruning is not None or extras.qat_steps is not None) and not is_run:
        raise ConfigError("a run folder for --prune and --qat-steps", source, "They train, which needs a run.")
    if is_file and settings.opset != OPSET:
        raise ConfigError("no --opset for an ONNX file, which keeps its own", str(settings.opset), "Leave it out.")
    if settings.size is not None and not is_run:
        raise ConfigError("a run folder for --size", source, "Other networks have a size rule of their own.")
    pruned = None
    if extras.pruning is not None:
        pruned = prune_run(Path(source), extras.pruning)
        source = str(pruned.folder)
    try:
        report = _export(source, settings, extras)
    except ExportRejectedError as error:
        _show(error.report, document, pruned)
        raise
    _show(report, document, pruned)
    both = dict.fromkeys(str(path) for path in (report.files[0].path, report.path) if path is not None)
    console().print(f"Next: segx eval {' '.join(both)} --data DATA\n      segx serve {report.path}", soft_wrap=True)


def _export(source: str, settings: ExportSettings, extras: Extras) -> ExportReport:
    if source.endswith(".onnx"):
        return export_onnx(Path(source), extras.card, settings, deploy=extras.deploy)
    if is_address(source):
        from segx_export.hub.export import export_hub  # a hub's libraries take seconds to load

        return export_hub(source, settings)
    if extras.qat_steps is not None:
        return export_with_qat(Path(source), settings, extras.qat_steps, extras.qat_always)
    return export_run(Path(source), settings)


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
