"""segx's own files of a run: what `segx export` writes, and the network inside each for the other form.

One tracing, one calibration and one judging for all precisions, as `--precision auto` does it. The gate may refuse a
file; it is measured all the same, and its verdict stands beside the figures.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from segx_core import card_io, onnx_metadata
from segx_core.card import METADATA_KEY, Card, Normalisation
from segx_core.datasets import Dataset
from segx_export import onnxgraph
from segx_export.candidates import Candidate, build
from segx_export.compress import choose
from segx_export.deploy import LOGITS, deploy_card, deploy_model
from segx_export.judging import judge_all
from segx_export.modelfile import write_model
from segx_export.parity import check_parity
from segx_export.rawpicture import BYTES
from segx_export.settings import ExportSettings
from segx_trainer.checkpoint import load_run

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


def segx_files(run: Path, data: Dataset, images: int, folder: Path) -> dict[str, Exported]:
    """fp32, int8 and w8 of a run and what `auto` keeps of them, by name; made once.

    Args:
        run: with a checkpoint.
        data: to calibrate and judge on.
        images: calibration pictures.
        folder: for the files and `export.json`; what is there is taken.
    """
    record = folder / "export.json"
    if not record.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        settings = ExportSettings(precision="auto", calibration_images=images, provider="cpu")
        loaded = load_run(run)
        model = deploy_model(loaded.network)
        parity = check_parity(loaded.network, model)
        made = {"fp32": Candidate(model, deploy_card(loaded.card, "classmap"))}
        for precision in ("int8", "w8"):
            made[precision] = build(precision, made["fp32"], data, images, settings.max_drop)
        with tempfile.TemporaryDirectory() as scratch:
            reports, _ = judge_all(made, settings, data, Path(scratch))
        for report in reports:
            one = made[report.precision]
            card = one.card.model_copy(update={"gate": report.gate})
            write_model(one.model, card, folder / f"segx-{report.precision}.onnx")
        document = {
            "kept": choose(reports, settings).precision,
            "parity": parity.logits_difference,
            "files": {report.precision: report.to_json() for report in reports},
        }
        record.write_text(json.dumps(document, indent=2))
    kept: str = json.loads(record.read_text())["kept"]
    found = {name: _exported(folder / f"segx-{name}.onnx") for name in ("fp32", "int8", "w8")}
    return {**found, "auto": found[kept]}


def _exported(path: Path) -> Exported:
    card = card_of(path)
    return Exported(path, card.precision, dict(card.session.config), card.gate.status)


def card_of(path: Path) -> Card:
    """The card inside a file."""
    return card_io.from_json(onnx_metadata.read(path)[METADATA_KEY], str(path))


def network_alone(deploy: Path, classes: int, out: Path) -> Path:
    """Cut the network out of a deploy file: (N, 3, H, W) float32 normalised -> (N, K, H, W) float32 logits.

    The same nodes and weights as in the deploy file; sides must be multiples of the network's. An int8 file's network
    reads bytes: there the normalised numbers are turned into bytes again, which costs it something.
    """
    model = onnx.load(deploy)
    graph = model.graph
    made = onnxgraph.producers(graph)
    entry = ENTRY if ENTRY in made else BYTES
    if entry not in made or LOGITS not in made:
        raise SystemExit(f"expected tensors {ENTRY} or {BYTES}, and {LOGITS}, in {deploy}: the graph has other names")
    graph.node.remove(made[entry])
    notes = [item for item in graph.value_info if item.name not in (ENTRY, LOGITS, BYTES)]
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.value_info.extend(notes)
    if entry == BYTES:
        normalisation = card_of(deploy).image.normalisation
        assert normalisation is not None
        _bytes_again(model, normalisation)
    _sides_of(model)
    graph.input.append(helper.make_tensor_value_info(ENTRY, TensorProto.FLOAT, ["N", 3, "H", "W"]))
    graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", classes, "H", "W"]))
    onnxgraph.sort_nodes(graph)
    onnxgraph.remove_dead(graph)
    onnx.checker.check_model(model)
    onnx.save(model, out)
    return out


def _bytes_again(model: ModelProto, normalisation: Normalisation) -> None:
    """Normalised float32 -> the bytes it came from."""
    graph = model.graph
    gain = np.array(normalisation.std, np.float32).reshape(1, 3, 1, 1) * np.float32(normalisation.scale)
    offset = np.array(normalisation.mean, np.float32).reshape(1, 3, 1, 1) * np.float32(normalisation.scale)
    names = [onnxgraph.add_constant(graph, "again", value) for value in (gain, offset)]
    one = onnxgraph.add_constant(graph, "one", np.array(1, np.float32))
    zero = onnxgraph.add_constant(graph, "no_offset", np.array(0, np.uint8))
    graph.node.extend(
        [
            helper.make_node("Mul", [ENTRY, names[0]], ["scaled_again"]),
            helper.make_node("Add", ["scaled_again", names[1]], ["levels_again"]),
            helper.make_node("QuantizeLinear", ["levels_again", one, zero], [BYTES]),
        ]
    )


def _sides_of(model: ModelProto) -> None:
    """What asks for the NHWC picture's shape, asks for the entry's instead."""
    graph = model.graph
    if "padded_shape" not in {name for node in graph.node for name in node.input}:
        return
    graph.node.remove(onnxgraph.producers(graph)["padded_shape"])
    order = onnxgraph.add_constant(graph, "nhwc_order", np.array([0, 2, 3, 1], np.int64))
    graph.node.extend(
        [
            helper.make_node("Shape", [ENTRY], ["entry_shape"]),
            helper.make_node("Gather", ["entry_shape", order], ["padded_shape"]),
        ]
    )
