"""A finished run to ONNX files: checks what was given, traces the network, proves the graph, hands over to compress.py.

It knows runs and data sets; how graphs are made (deploy), compressed and judged is each in a file of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

from segx_core.card import Card
from segx_core.datasets import Dataset, open_dataset
from segx_core.errors import ConfigError, DataError, ModelError, SetupError
from segx_core.progress import console
from segx_export.candidates import Candidate
from segx_export.compress import REFERENCE, compress
from segx_export.deploy import deploy_card, deploy_model, fix_size
from segx_export.feeding import feeder
from segx_export.parity import check_parity
from segx_export.report import ExportRejectedError, ExportReport
from segx_export.settings import ExportSettings
from segx_trainer import losses
from segx_trainer.checkpoint import BEST, load_run

__all__ = ["ExportRejectedError", "ExportReport", "ExportSettings", "export_run"]


def export_run(run: Path, settings: ExportSettings | None = None) -> ExportReport:
    """Export the best weights of a run.

    Writes RUN/model.fp32.onnx and the file asked for, each with its card inside. A file the gate refused is written
    too, marked rejected, before ExportRejectedError is raised.

    Args:
        run: a folder of `segx train`.
        settings: None for the defaults: a measured float32 file.

    Raises:
        ConfigError: `settings.out` is a folder or the float reference.
        ModelError: `run` is no run folder, or has no usable checkpoint.
        DataError: no data, no held-out split, other classes than the run's.
        SetupError: nowhere to write, or the provider asked for does not load.
        GateError: the graph does not compute the network.
        ExportRejectedError: (a GateError) every candidate lost too much; carries the report.
    """
    settings = settings or ExportSettings()
    check_place(run, settings)
    loaded = load_run(run)
    dataset = open_data(loaded.card, settings)

    _say(f"tracing the network to ONNX (opset {settings.opset}), about half a minute")
    thresholds = loaded.card.thresholds
    link: losses.Link = "softmax" if thresholds else losses.link(loaded.config.loss)
    model = deploy_model(loaded.network, settings.outputs, settings.opset, thresholds, link)
    left = sum(node.op_type == "BatchNormalization" for node in model.graph.node)
    if left:
        _say(f"{left} BatchNormalizations follow no convolution and stay: each costs a pass through memory")
    parity = check_parity(loaded.network, model, thresholds=thresholds)
    _say(
        f"torch and ONNX Runtime agree: logits within {parity.logits_difference:.1g}, {parity.agreement:.4%} of pixels"
    )
    card = deploy_card(loaded.card, settings.outputs, settings.opset)
    if settings.size is not None:
        model, card = fix_size(model, card, settings.size)
    return compress(Candidate(model, card, feed=feeder(card, model)), parity, run, settings, dataset)


def _say(text: str) -> None:
    console().print(f"export: {text}", markup=False, soft_wrap=True)


def check_place(run: Path, settings: ExportSettings) -> None:
    """Fail before the work, not after it."""
    out = settings.out
    if not run.is_dir():
        raise ModelError("a run folder of `segx train`", f"no such folder: {run}", "Check the path.")
    if not (run / BEST).is_file():
        raise ModelError(
            f"a run folder of `segx train`, with {BEST}", f"none in {run}", "Train first: segx train DATA --out RUN."
        )
    if out is not None and out.is_dir():
        raise ConfigError("a file for --out", f"the folder {out}", f"For example --out {out / 'model.onnx'}.")
    if out is not None and settings.attempts and out.resolve() == (run / REFERENCE).resolve():
        raise ConfigError(
            "--out apart from the float reference, which is written in any case", str(out), "Leave --out out."
        )
    for folder in {run, (out or run / "file").absolute().parent}:
        present = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        if not present.is_dir() or not os.access(present, os.W_OK):
            raise SetupError(f"to write into {folder}", "no permission to", "Choose another --out, or mend its rights.")


def open_data(card: Card, settings: ExportSettings) -> Dataset | None:
    """The data to calibrate and judge on; None where neither is needed."""
    if not settings.needs_data:
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
    if dataset.task != card.task:
        raise DataError(f"{card.task} masks in {source}, as the run was trained on", dataset.task, "Use other --data.")
    if dataset.classes != card.classes:
        raise DataError(
            f"the run's classes in {source}: {', '.join(card.classes)}", ", ".join(dataset.classes), "Use other --data."
        )
    if settings.gate and not dataset.split(settings.split):
        raise DataError(f"held-out pictures in the split '{settings.split}' of {source}", "none", "Use --no-gate.")
    return dataset
