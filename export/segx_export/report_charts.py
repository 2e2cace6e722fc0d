"""The drawn parts of the report: size, time and loss of every file, and IoU by class, as bars of plain HTML.

Every bar stands beside its figure, so nothing is told by length or colour alone. It measures and judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from segx_core.card import Card
from segx_export.report import FileReport
from segx_export.report_html import Place, folded, number, signed, swatch, table, text

_OPEN_CLASSES = 24  # more than these fold away; they are sorted by loss


def panels(files: Sequence[FileReport], shown: int) -> str:
    """Size, time and loss side by side; `shown` is the index of the file the page is about."""
    sizes = [
        (file.size_bytes, number(file.size_bytes, f"{file.size_bytes / 1e6:.2f} MB", ("files", index, "size_bytes")))
        for index, file in enumerate(files)
    ]
    times = [
        (row.latency_ms, number(row.latency_ms, f"{row.latency_ms:.1f} ms", (*_row(index), "latency_ms")))
        for index, file in enumerate(files)
        if (row := file.measurement) is not None
    ]
    parts = [_panel("Size", "less is better", files, sizes, shown)]
    if len(times) == len(files):
        parts.append(_panel("Time for one picture", "median, less is better", files, times, shown))
    if any(file.drop is not None for file in files):
        parts.append(_losses(files, shown))
    return f'<div class="panels">{"".join(parts)}</div>'


def _row(index: int) -> tuple[str | int, ...]:
    return ("files", index, "measurement")


def _panel(title: str, note: str, files: Sequence[FileReport], values: Sequence[tuple[float, str]], shown: int) -> str:
    most = max(value for value, _ in values) or 1
    rows = "".join(
        f'<div class="line {_kind(file, index, shown)}"><span>{text(file.precision)}</span>'
        f'<span class="track"><i style="width:{100 * value / most:.2f}%"></i></span><b>{label}</b></div>'
        for index, (file, (value, label)) in enumerate(zip(files, values, strict=True))
    )
    return f'<div class="panel"><h3>{title} <small>{note}</small></h3>{rows}</div>'


def _kind(file: FileReport, index: int, shown: int) -> str:
    if index == 0:
        return "base"
    return "bad" if file.gate.status == "rejected" else "main" if index == shown else "side"


def _losses(files: Sequence[FileReport], shown: int) -> str:
    """A dot for each loss with its interval as a line, and the allowed loss as a mark."""
    compared = [(index, file) for index, file in enumerate(files) if file.drop is not None]
    allowed = next((file.gate.max_drop for _, file in compared if file.gate.max_drop is not None), None)
    ends = [0.0, *([] if allowed is None else [allowed])]
    for _, file in compared:
        ends += [file.drop or 0.0, *(file.drop_interval or ())]
    low, high = min(ends), max(ends)
    margin = 0.06 * ((high - low) or 1.0)
    low, high = low - margin, high + margin

    def at(points: float) -> str:
        return f"{100 * (points - low) / (high - low):.2f}%"

    marks = f'<i class="zero" style="left:{at(0)}"></i>'
    if allowed is not None:
        marks += f'<i class="limit" style="left:{at(allowed)}"></i>'
    rows = ""
    for index, file in compared:
        drop = file.drop or 0.0
        span = ""
        if file.drop_interval is not None:
            left, right = file.drop_interval
            span = f'<i class="span" style="left:{at(left)};right:calc(100% - {at(right)})"></i>'
        figure = number(drop, signed(drop), ("files", index, "miou_drop_points"))
        dot = f'<i class="dot" style="left:{at(drop)}"></i>'
        rows += (
            f'<div class="line {_kind(file, index, shown)}"><span>{text(file.precision)}</span>'
            f'<span class="track plot">{marks}{span}{dot}</span><b>{figure}</b></div>'
        )
    legend = '<p class="soft small">The dot is the loss'
    if any(file.drop_interval is not None for _, file in compared):
        legend += ", the line its 95\u00a0% confidence interval"
    legend += f", the mark the {signed(allowed)} points allowed.</p>" if allowed is not None else ".</p>"
    return f'<div class="panel"><h3>Loss of mean IoU <small>points</small></h3>{rows}{legend}</div>'


def class_bars(files: Sequence[FileReport], shown: int, card: Card) -> str:
    """IoU by class, fp32's beside that of the file `shown`, the largest loss first; fp32 alone where they are one."""
    base, other = files[0].measurement, files[shown].measurement
    assert base is not None
    assert other is not None
    colours = dict(zip(card.classes, card.palette, strict=True))
    alone = shown == 0

    def loss(name: str) -> float:
        before, after = base.per_class_iou[name], other.per_class_iou.get(name)
        if before is None and after is None:
            return float("-inf")  # in no picture: last
        return -(before or 0.0) if alone else (before or 0.0) - (after or 0.0)

    names = sorted(base.per_class_iou, key=lambda name: -loss(name))
    heads = ["class", "fp32"] if alone else ["class", "fp32", files[shown].precision, "change, points"]
    rows = [
        _class_row(name, colours[name], base.per_class_iou[name], other.per_class_iou.get(name), shown)
        for name in names
    ]
    made = (
        "" if alone else f'<p class="key"><span>fp32</span><span class="main">{text(files[shown].precision)}</span></p>'
    )
    made += table(heads, rows[:_OPEN_CLASSES], "classes", "IoU by class")
    if len(rows) > _OPEN_CLASSES:
        rest = table(heads, rows[_OPEN_CLASSES:], "classes", "IoU of the other classes")
        made += folded(f"{len(rows) - _OPEN_CLASSES} more classes", rest)
    return made


def _class_row(
    name: str, colour: Sequence[int], before: float | None, after: float | None, shown: int
) -> tuple[str, ...]:
    bars = f'<i class="base" style="width:{100 * (before or 0):.2f}%"></i>'
    if shown:
        bars += f'<i class="main" style="width:{100 * (after or 0):.2f}%"></i>'
    head = (
        f'<div class="class"><span class="name">{swatch(colour)}<span>{text(name)}</span></span>'
        f'<span class="pair" aria-hidden="true">{bars}</span></div>'
    )

    def place(index: int) -> Place:
        return (*_row(index), "per_class_iou", name)

    def figure(value: float | None, index: int) -> str:
        return '<span class="soft">absent</span>' if value is None else number(value, f"{value:.3f}", place(index))

    if not shown:
        return head, figure(before, 0)
    change = '<span class="soft">\u2013</span>'
    if before is not None and after is not None:
        points = (after - before) * 100
        kind, sign = (
            ("loss", "\u25bc") if points <= -0.005 else ("gain", "\u25b2") if points >= 0.005 else ("even", "=")
        )
        said = {"loss": "loses ", "gain": "gains ", "even": "the same, "}[kind]
        amount = number(after - before, f"{abs(points):.2f}", place(shown), minus=place(0))
        spoken = f'<span aria-hidden="true">{sign}</span><span class="hidden">{said}</span>'
        change = f'<span class="{kind}">{spoken} {amount}</span>'
    return head, figure(before, 0), figure(after, shown), change
