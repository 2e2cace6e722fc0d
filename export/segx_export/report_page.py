"""The report of an export as one HTML file: verdict first, then the figures, the pictures, and how the file was made.

It holds everything it shows (pictures, style, a few lines of script), loads nothing, and works without the script. It
measures nothing: what it says is in the ExportReport, the card and the pictures it is given.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

from segx_core import atomic
from segx_core.card import Card
from segx_export.report import ExportReport, FileReport
from segx_export.report_charts import class_bars, panels
from segx_export.report_details import card_facts, kernels, making, running
from segx_export.report_html import number, signed, table, text
from segx_export.report_pictures import StripPicture
from segx_export.report_strip import pictures_section


def write_report(path: Path, report: ExportReport, pictures: Sequence[StripPicture], card: Card) -> None:
    """Write the page of a gated export to `path`, all or nothing.

    Args:
        path: the HTML file.
        report: what was measured; fp32 must have a measurement.
        pictures: of fp32 and the file that `shown` names, worst first; may be none.
        card: of the file that was kept.

    Raises:
        SetupError: `path` cannot be written.
    """
    atomic.write_text(path, render(report, pictures, card))


def page_path(model: Path) -> Path:
    """Where the page of a model file stands: beside it, under its name."""
    return model.with_name(model.name + ".html") if model.suffix == ".html" else model.with_suffix(".html")


def shown(report: ExportReport) -> int:
    """Index of the file the page compares with fp32: the kept one, or the first candidate where fp32 was kept."""
    names = [file.precision for file in report.files]
    kept = names.index(report.kept)
    return kept if kept or len(names) == 1 else 1


def render(report: ExportReport, pictures: Sequence[StripPicture], card: Card) -> str:
    """The page as a string; see write_report."""
    index = shown(report)
    files = report.files
    folder = resources.files("segx_export") / "page"
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    page = Template((folder / "report.html").read_text(encoding="utf-8"))
    compared = f"{files[0].precision} and {files[index].precision}" if index else files[0].precision
    return page.substitute(
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        script=script,
        title=text(f"{report.path.name}: {_headline(report)}"),
        name=text(card.name),
        verdict=_verdict(report),
        tiles=_tiles(report, index),
        panels=panels(files, index),
        files=_files(report),
        compared=text(compared),
        classes=class_bars(files, index, card),
        pictures=pictures_section(pictures, files, index, card),
        running=running(report, index, card),
        kernels=kernels(report, index),
        making=making(report),
        card=card_facts(card, report),
    )


def _headline(report: ExportReport) -> str:
    match report.gate.status:
        case "passed":
            return f"{report.kept} passed the gate"
        case "rejected":
            return f"{report.kept} was rejected by the gate"
        case "reference" if len(report.files) > 1:
            return f"{report.kept} was kept"
        case _:
            return f"{report.kept}, measured"


def _verdict(report: ExportReport) -> str:
    status = report.gate.status
    icon = {"passed": "\u2713", "rejected": "\u2715"}.get(status, "\u2022")
    says = "".join(f"<li>{text(reason)}</li>" for reason in report.gate.reasons)
    rest = f"<ul>{says}</ul>" if says else f"<p>{_lede(report)}</p>"
    return (
        f'<section class="verdict {status}" aria-label="Verdict"><span class="icon" aria-hidden="true">{icon}</span>'
        f"<div><h1>{text(_headline(report))}</h1>{rest}"
        f'<p class="file"><code>{text(report.path.name)}</code></p></div></section>'
    )


def _lede(report: ExportReport) -> str:
    base, kept = report.files[0], next(file for file in report.files if file.precision == report.kept)
    if kept is not base and kept.drop is not None and kept.gate.max_drop is not None:
        verb = "gains" if kept.drop < 0 else "loses"
        return (
            f"It {verb} {abs(kept.drop):.2f} points of mean IoU on held-out pictures; "
            f"a loss of {signed(kept.gate.max_drop)} is allowed."
        )
    if len(report.files) > 1:
        return "Of all files that were built and measured, the float32 file serves best here."
    return "The float32 file, held against labelled pictures it was not trained on."


def _tiles(report: ExportReport, index: int) -> str:
    base, file = report.files[0], report.files[index]
    at = ("files", index)
    tiles = []
    size = number(file.size_bytes, f"{file.size_bytes / 1e6:.2f}", (*at, "size_bytes"))
    smaller = _smaller(base, file, index)
    tiles.append(("Size", f"{size} MB", f"{smaller} smaller than fp32" if index else "float32 weights"))
    row, first = file.measurement, base.measurement
    if row is not None and first is not None:
        time = number(row.latency_ms, f"{row.latency_ms:.1f}", (*at, "measurement", "latency_ms"))
        ratio = f"{_ratio(report, index)} of fp32's time" if index else f"one picture of {row.width}\u00d7{row.height}"
        tiles.append(("Time", f"{time} ms", ratio))
        miou = number(row.miou, f"{row.miou:.4f}", (*at, "measurement", "miou"))
        tiles.append(("Mean IoU", miou, _drop(file, index) if index else f"{row.images} pictures of {text(row.split)}"))
        if file.agreement is not None:
            same = number(file.agreement, f"{file.agreement:.2%}", (*at, "pixel_agreement"))
            tiles.append(("Same pixels", same, f"as fp32, on {row.images} pictures of {text(row.split)}"))
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in tiles)
    caption = f'<p class="soft small">The figures of {text(file.precision)}, which was not kept:</p>'
    return ("" if file.precision == report.kept else caption) + f'<dl class="tiles">{cells}</dl>'


def _smaller(base: FileReport, file: FileReport, index: int) -> str:
    times = base.size_bytes / file.size_bytes
    return number(times, f"{times:.2f}\u00d7", ("files", 0, "size_bytes"), over=("files", index, "size_bytes"))


def _ratio(report: ExportReport, index: int) -> str:
    row, first = report.files[index].measurement, report.files[0].measurement
    if row is None or first is None:
        return ""
    of, over = (("files", place, "measurement", "latency_ms") for place in (index, 0))
    return number(row.latency_ms / first.latency_ms, f"{row.latency_ms / first.latency_ms:.2f}\u00d7", of, over=over)


def _drop(file: FileReport, index: int) -> str:
    """Loss in points and its interval."""
    if file.drop is None:
        return ""
    place = ("files", index, "miou_drop_points")
    verb = "gains" if file.drop < 0 else "loses"
    # The element's value is the loss as the JSON has it; what is read is its size.
    made = f"{verb} {number(file.drop, f'{abs(file.drop):.2f}', place)} points"
    return f"{made} ({_interval(file, index)})" if file.drop_interval is not None else made


def _interval(file: FileReport, index: int) -> str:
    """The ends of the loss's confidence interval."""
    if file.drop_interval is None:
        return ""
    ends = [
        number(end, signed(end), ("files", index, "miou_drop_interval_points", side))
        for side, end in enumerate(file.drop_interval)
    ]
    return f"95\u00a0%: {ends[0]} to {ends[1]}"


def _files(report: ExportReport) -> str:
    heads = [
        "file",
        "size",
        "smaller",
        "time",
        "\u00d7 fp32",
        "mIoU",
        "loss, points",
        "worst class",
        "same pixels",
        "gate",
    ]
    rows = [_file(report, index) for index in range(len(report.files))]
    # A float file alone is compared with nothing: those columns would be empty.
    used = [column for column, cells in enumerate(zip(*rows, strict=True)) if any(cells)]
    return table(
        [heads[column] for column in used],
        [[row[column] for column in used] for row in rows],
        "files",
        "All files measured",
    )


def _file(report: ExportReport, index: int) -> tuple[str, ...]:
    file, at = report.files[index], ("files", index)
    row = file.measurement
    good = file.precision == report.kept and file.gate.status != "rejected"
    kept = ' <span class="tag">kept</span>' if good else ""
    loss = "" if file.drop is None else number(file.drop, signed(file.drop), (*at, "miou_drop_points"))
    if file.drop_interval is not None:
        loss += f"<small>{_interval(file, index)}</small>"
    worst = ""
    if file.worst_drop is not None:
        points = number(file.worst_drop, signed(file.worst_drop), (*at, "worst_class_drop_points"))
        worst = f"{text(file.worst_class)} {points}"
    return (
        f"{text(file.precision)}{kept}",
        number(file.size_bytes, f"{file.size_bytes / 1e6:.2f} MB", (*at, "size_bytes")),
        _smaller(report.files[0], file, index) if index else "",
        "" if row is None else number(row.latency_ms, f"{row.latency_ms:.1f} ms", (*at, "measurement", "latency_ms")),
        _ratio(report, index) if index else "",
        "" if row is None else number(row.miou, f"{row.miou:.4f}", (*at, "measurement", "miou")),
        loss,
        worst,
        "" if file.agreement is None else number(file.agreement, f"{file.agreement:.2%}", (*at, "pixel_agreement")),
        f'<span class="gate {file.gate.status}">{file.gate.status}</span>',
    )
