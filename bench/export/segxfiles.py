"""segx's own files of a run: what `segx export` writes, and the network inside each for the other form.

Exports a copy of the run's checkpoint, so that the run folder stays as it was. The gate may refuse a file; it is
measured all the same, and its verdict stands beside the figures.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from segx_core import card_io, onnx_metadata
from segx_core.card import METADATA_KEY, Card
from segx_export import onnxgraph
from segx_export.compress import REFERENCE
from segx_export.deploy import LOGITS
from segx_export.export import ExportRejectedError, ExportSettings, export_run
from segx_trainer.checkpoint import BEST

ENTRY = "padded"
"""The tensor of a deploy graph that holds the normalised, padded picture."""


@dataclass(frozen=True)
class Exported:
    """One file of `segx export`."""

    path: Path
    precision: str
    """What it is; of `auto`, what was kept."""
    config: dict[str, str]
    """Session entries it wants."""
    verdict: str
    """The gate's status."""


def segx_file(run: Path, precision: str, data: Path, images: int, folder: Path) -> Exported:
    """Export `run` as `segx export RUN --precision PRECISION --data DATA` does, once.

    Args:
        run: with a checkpoint.
        precision: of `segx export`, "auto" included.
        data: to calibrate and judge on.
        images: calibration pictures.
        folder: for the files; those that are there are taken.
    """
    copy, out = folder / "run", folder / f"segx-{precision}.onnx"
    if precision == "fp32" and (copy / REFERENCE).is_file():
        out = copy / REFERENCE  # every export leaves it
    if not out.is_file():
        copy.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / BEST, copy / BEST)
        settings = ExportSettings(
            precision=precision, out=out, data=str(data), calibration_images=images, provider="cpu",
            gate=precision != "fp32",
        )  # fmt: skip
        try:
            report = export_run(copy, settings)
        except ExportRejectedError as error:
            report = error.report
        (folder / f"segx-{precision}.json").write_text(json.dumps(report.to_json(), indent=2))
    card = card_of(out)
    return Exported(out, card.precision, dict(card.session.config), card.gate.status)


def card_of(path: Path) -> Card:
    """The card inside a file."""
    return card_io.from_json(onnx_metadata.read(path)[METADATA_KEY], str(path))


def network_alone(deploy: Path, classes: int, out: Path) -> Path:
    """Cut the network out of a deploy file: (N, 3, H, W) float32 normalised -> (N, K, H, W) float32 logits.

    The same nodes and weights as in the deploy file; sides must be multiples of the network's.
    """
    model = onnx.load(deploy)
    graph = model.graph
    made = onnxgraph.producers(graph)
    if ENTRY not in made or LOGITS not in made:
        raise SystemExit(f"expected tensors {ENTRY} and {LOGITS} in {deploy}; the deploy graph has changed its names")
    graph.node.remove(made[ENTRY])
    notes = [item for item in graph.value_info if item.name not in (ENTRY, LOGITS)]
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.value_info.extend(notes)
    graph.input.append(helper.make_tensor_value_info(ENTRY, TensorProto.FLOAT, ["N", 3, "H", "W"]))
    graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", classes, "H", "W"]))
    onnxgraph.remove_dead(graph)
    onnx.checker.check_model(model)
    onnx.save(model, out)
    return out
