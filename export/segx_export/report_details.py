"""The report's small print: how the file runs, which kernels it gets, how it was made, and its card."""

from __future__ import annotations

from segx_core.card import Card, InputSpec, OutputSpec
from segx_export.report import ExportReport
from segx_export.report_html import facts, folded, number, swatch, text


def running(report: ExportReport, index: int, card: Card) -> str:
    """Provider and session options: what was measured, and what the card asks of whoever runs the file."""
    row = report.files[index].measurement
    session = card.session
    config = ", ".join(f"{key} = {value}" for key, value in session.config.items())
    return facts(
        {
            "Measured with": "" if row is None else row.provider,
            "Picture size": "" if row is None else f"{row.width}\u00d7{row.height}",
            "Held-out pictures": "" if row is None else f"{row.images} of '{row.split}'",
            "Meant for": ", ".join(session.providers) + " (best first)" if len(session.providers) > 1
            else session.providers[0],
            "Session options": config or "none needed",
            "Graph optimisation": session.optimization,
        }
    )  # fmt: skip


def kernels(report: ExportReport, index: int) -> str:
    """Which kernels ONNX Runtime uses, of the file the page is about."""
    placed = report.files[index].placement
    if placed is None:
        return ""
    at = ("files", index, "kernels")
    whole = placed.int8 + placed.float or 1
    ints = number(placed.int8, str(placed.int8), (*at, "int8"))
    floats = number(placed.float, str(placed.float), (*at, "float"))
    operators = sorted(placed.nodes.items(), key=lambda item: (-item[1], item[0]))
    listed = "".join(
        f"<li><code>{text(name)}</code> {number(count, str(count), (*at, 'nodes', name))}</li>"
        for name, count in operators
    )
    return (
        f"<h3>Convolutions and matrix products of {text(report.files[index].precision)}</h3>"
        f'<div class="split" aria-hidden="true"><i class="main" style="width:{100 * placed.int8 / whole:.2f}%"></i>'
        f'<i class="base" style="width:{100 * placed.float / whole:.2f}%"></i></div>'
        f'<p class="key"><span class="main">{ints} with int8 kernels</span>'
        f'<span class="base">{floats} in float</span></p>'
        + folded("Every operator ONNX Runtime runs", f'<ul class="operators">{listed}</ul>')
    )


def making(report: ExportReport) -> str:
    """How the files were made: recipes, notes, and the proof that the graph computes the network."""
    parts = "".join(
        f"<h3>{text(file.precision)}</h3>{facts(dict(file.recipe))}" for file in report.files if file.recipe
    )
    if report.notes:
        parts += "<ul>" + "".join(f"<li>{text(note)}</li>" for note in report.notes) + "</ul>"
    parity = report.parity
    difference = number(parity.logits_difference, f"{parity.logits_difference:.1g}", ("parity", "logits_difference"))
    same = number(parity.agreement, f"{parity.agreement:.4%}", ("parity", "agreement"))
    return (
        parts + f"<p>Before anything was compressed the ONNX graph was held against the trained network: logits within "
        f"{difference} of each other (relative), {same} of pixels with the same class.</p>"
    )


def card_facts(card: Card, report: ExportReport) -> str:
    """Classes, ports, training and machine."""
    classes = "".join(
        f"<li>{swatch(colour)}{text(name)}</li>" for name, colour in zip(card.classes, card.palette, strict=True)
    )
    ports = {f"Input {port.name}": _port(port) for port in card.inputs}
    ports |= {f"Output {port.name}": _port(port) for port in card.outputs}
    model = facts({"Precision": card.precision, "Opset": card.opset, **ports, "Sizes": card.size.kind})
    parts = f'<h3>{len(card.classes)} classes</h3><ul class="legend">{classes}</ul><h3>Model</h3>{model}'
    training = card.training
    if training is not None:
        told = {
            "Data": training.data,
            "Network": training.network,
            "Encoder": training.encoder,
            "Encoder weights": training.encoder_weights,
            "Loss": training.loss,
            "Seed": training.seed,
            "Epochs": f"{training.epochs:g}",
            "Steps": training.steps,
            "Validation mIoU in training": None if training.val_miou is None else f"{training.val_miou:.4f}",
            "Versions": ", ".join(f"{name} {version}" for name, version in training.versions.items()),
        }
        parts += f"<h3>Training</h3>{facts(told)}"
    return parts + f"<h3>Measured on</h3>{facts(dict(report.machine))}"


def _port(port: InputSpec | OutputSpec) -> str:
    shape = " \u00d7 ".join(str(axis) for axis in port.shape)
    return f"{port.kind}, {port.dtype}, {shape}"
