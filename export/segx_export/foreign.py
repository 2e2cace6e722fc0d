"""Somebody else's float ONNX file to compressed, measured ones: read, tidied or rewrapped, proved, handed on.

By default the files keep the form of the given one: same inputs and outputs, described by the same card. With `deploy`
they take raw pictures and give class maps, as files of segx's own runs do. The given file is never changed, except
where segx wrote it itself under the name of a float reference: then its card gets the new measurements.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
from onnx import ModelProto

from segx_core import onnx_metadata
from segx_core.card import METADATA_KEY, Card, Gate, Origin, OutputSpec
from segx_core.errors import ConfigError, ModelError
from segx_core.predictor import Predictor
from segx_export import onnxgraph
from segx_export.acceptance import opset_of, read_foreign
from segx_export.candidates import Candidate
from segx_export.compress import compress
from segx_export.feeding import calibration_feeds, feeder, output_ports, ports_of
from segx_export.modelfile import write_model
from segx_export.outsiders import choose_place, judged_on, say
from segx_export.parity import with_logits
from segx_export.report import ExportReport
from segx_export.rewrap import batch_axis, deploy_form, drop_idle_resize, rewrapped_card
from segx_export.sameness import check_same, sizes_for
from segx_export.settings import ExportSettings
from segx_export.simplify import simplify
from segx_export.sizes import fix_factors


def export_onnx(
    path: Path, card: Path | None, settings: ExportSettings | None = None, *, deploy: bool = False
) -> ExportReport:
    """Compress a third-party float32 ONNX file.

    Writes NAME.fp32.onnx beside `path` (beside `settings.out`, where that is given) and the file asked for, each with
    its card inside. Without `settings.data`, and where int8 does not need it, nothing is measured.

    Args:
        path: the file.
        card: a YAML or JSON card; None where the file carries one.
        settings: None for the defaults: a float32 file.
        deploy: raw uint8 pictures in, class maps of their size out.

    Raises:
        ConfigError: settings that do not go with such a file.
        ModelError: no file that can be compressed (see acceptance.py), or ONNX Runtime refuses it.
        CardError: no card, or one that contradicts the graph.
        DataError: int8 without data, or other data than the card's classes want.
        SetupError: nowhere to write.
        GateError: the reference does not compute what the file does.
        ExportRejectedError: (a GateError) every candidate lost too much; carries the report.
    """
    settings = settings or ExportSettings()
    if settings.outputs != "classmap" and not deploy:
        raise ConfigError("--outputs together with --deploy", "--outputs alone", "A file keeps its outputs otherwise.")
    model = read_foreign(path)
    given = Predictor.load(path, provider="cpu", card=card)
    known = given.card
    if deploy and known.task == "multilabel":
        raise ConfigError("--deploy for a multiclass file", f"{path}, a multilabel one", "Keep its own form.")
    if deploy and _is_deployed(known):
        raise ConfigError(
            f"--deploy for a file in another form than {path}", "one that is deployed already", "Omit it."
        )
    if settings.out is not None and settings.out.resolve() == path.resolve():
        raise ConfigError("--out apart from the given file", str(path), "Choose another name.")
    place = choose_place(path.absolute().parent, _stem(path, settings, own=card is None), settings)
    settings, dataset = judged_on(known, settings)

    reference = _deployed(model, known, settings) if deploy else _tidied(model, known)
    reference = replace(
        reference,
        card=_signed(reference.card, path),
        feed=feeder(reference.card, reference.model),
    )
    with tempfile.TemporaryDirectory(prefix="segx-") as folder:
        probe = Path(folder) / "reference.onnx"
        scored = deploy and not known.prediction.is_map
        write_model(with_logits(reference.model) if scored else reference.model, reference.card, probe)
        parity = check_same(given, Predictor.load(probe, provider="cpu"))
    agreement = f"scores within {parity.logits_difference:.1g}, {parity.agreement:.4%} of pixels"
    say(f"{path} and the reference agree: {agreement}")
    return compress(reference, parity, place.folder, settings, dataset, place.stem)


def _is_deployed(card: Card) -> bool:
    kinds = {spec.kind for spec in card.outputs}
    return card.image.dtype == "uint8" and card.image.layout == "NHWC" and bool({"classmap", "labels"} & kinds)


def _stem(path: Path, settings: ExportSettings, *, own: bool) -> str:
    """NAME of NAME.onnx and of NAME.fp32.onnx; NAME.segx where the reference would otherwise replace the given file."""
    stem = path.stem.removesuffix(".fp32")
    folder = path.absolute().parent if settings.out is None else settings.out.absolute().parent
    ours = own and METADATA_KEY in onnx_metadata.read(path)
    if not ours and (folder / f"{stem}.fp32.onnx").resolve() == path.resolve():
        return f"{stem}.segx"
    return stem


def _tidied(model: ModelProto, card: Card) -> Candidate:
    """The same network in the same form, with what keeps int8 kernels from fusing out of the way."""
    ports = ports_of(model)
    pictures = [np.zeros((*size, 3), np.uint8) for size in sizes_for(card.size)]
    tidied = simplify(fix_factors(model, list(calibration_feeds(card, ports, pictures))))
    onnxgraph.name_nodes(tidied.graph)
    return Candidate(tidied, _settled(card, tidied))


def _deployed(model: ModelProto, card: Card, settings: ExportSettings) -> Candidate:
    wrapped = deploy_form(model, card, settings.outputs)
    batch = batch_axis(wrapped)
    count = batch if isinstance(batch, int) else 1
    probes = [{"image": np.zeros((count, *size, 3), np.uint8)} for size in sizes_for(card.size)]
    wrapped = fix_factors(wrapped, probes)
    drop_idle_resize(wrapped)
    wrapped = simplify(wrapped)
    onnxgraph.name_nodes(wrapped.graph)
    made = rewrapped_card(card, settings.outputs, batch, opset_of(wrapped))
    return Candidate(wrapped, made)


def _settled(card: Card, model: ModelProto) -> Card:
    """The card with what the graph knows better: element types, which a hand-written card leaves out, and the opset."""
    types = {port.name: port.dtype for port in output_ports(model)}
    allowed = get_args(OutputSpec.model_fields["dtype"].annotation)
    for spec in card.outputs:
        if types[spec.name] not in allowed:
            raise ModelError(
                f"output '{spec.name}' to be one of {', '.join(allowed)}", types[spec.name], "Export it with a Cast."
            )
    outputs = tuple(spec.model_copy(update={"dtype": types[spec.name]}) for spec in card.outputs)
    return card.model_copy(update={"outputs": outputs, "opset": opset_of(model), "precision": "fp32"})


def _signed(card: Card, path: Path) -> Card:
    """No old measurements and verdicts, and the name of the file where nothing else tells where it comes from."""
    origin = card.origin or (None if card.training else Origin(source=path.name))
    return card.model_copy(update={"measurements": (), "gate": Gate(), "origin": origin})
