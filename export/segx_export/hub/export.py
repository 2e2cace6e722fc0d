"""A pretrained network of a hub to a deploy file with its card, compressed and judged like a run's.

It knows the order of things; each hub has a file of its own, and compression is compress.py's.
"""

from __future__ import annotations

from pathlib import Path

from segx_core.errors import ModelError
from segx_export.candidates import Candidate
from segx_export.compress import compress
from segx_export.deploy import deploy_model
from segx_export.feeding import feeder
from segx_export.hub import torchvision_nets, transformers_nets
from segx_export.hub.address import Address, parse
from segx_export.hub.network import Found, HubNet
from segx_export.outsiders import choose_place, judged_on, say
from segx_export.parity import check_parity
from segx_export.report import ExportReport
from segx_export.rewrap import rewrapped_card
from segx_export.settings import ExportSettings


def export_hub(source: str, settings: ExportSettings | None = None) -> ExportReport:
    """Export a pretrained network.

    Writes NAME.fp32.onnx into the current folder (beside `settings.out`, where that is given) and the file asked for.
    Without `settings.data`, and where int8 does not need it, nothing is measured.

    Args:
        source: torchvision:NAME or hf:REPOSITORY, with options after a question mark (see address.py).
        settings: None for the defaults: a float32 file.

    Raises:
        ConfigError: no such network, or settings that do not fit.
        ModelError: what is there is no segmentation network, or one that cannot be traced.
        DataError: int8 without data, or other data than the network's classes want.
        SetupError: nowhere to write, no library, no connection.
        GateError: the graph does not compute the network.
        ExportRejectedError: (a GateError) every candidate lost too much; carries the report.
    """
    settings = settings or ExportSettings()
    address = parse(source)
    place = choose_place(Path.cwd(), address.stem, settings)
    found = _find(address, settings)
    for text in (f"{found.origin.source}, {found.origin.revision or 'no revision'}", *found.origin.notes):
        say(text)
    if found.origin.licence:
        say(f"licence of the weights: {found.origin.licence}")
    card = found.card()
    settings, dataset = judged_on(card, settings)

    network = HubNet(found).eval()
    say(f"tracing the network to ONNX (opset {settings.opset}), about half a minute")
    try:
        model = deploy_model(network, settings.outputs, settings.opset)
    except RuntimeError as error:  # torch's exporter raises many kinds of it
        reason = " ".join(str(error).split())[:400]
        raise ModelError(
            f"a network that torch can trace to ONNX at {address}", reason, "Try a fixed size: ?size=512x512."
        ) from error
    parity = check_parity(network, model)
    agreement = f"logits within {parity.logits_difference:.1g}, {parity.agreement:.4%} of pixels"
    say(f"torch and ONNX Runtime agree: {agreement}")
    made = rewrapped_card(card, settings.outputs, "N", settings.opset)
    reference = Candidate(model, made, feed=feeder(made, model))
    return compress(reference, parity, place.folder, settings, dataset, place.stem)


def _find(address: Address, settings: ExportSettings) -> Found:
    match address.hub:
        case "torchvision":
            return torchvision_nets.find(address)
        case "hf":
            return transformers_nets.find(address, logarithm=settings.outputs == "probabilities")
        case _:
            raise AssertionError(address.hub)
