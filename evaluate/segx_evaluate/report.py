"""Results as JSON for programs and as a table for people. The keys are a public promise; it measures nothing.

A figure that does not exist (a class that never occurs, calibration of a file without probabilities) is null in the
JSON and a dash in the table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from segx_core import atomic
from segx_core.confusion import tallies
from segx_core.version import segx_version
from segx_evaluate import metrics
from segx_evaluate.result import Result

_NAMED = 3  # models whose names and differences fit into a terminal of 80 columns
_DASH = "–"  # noqa: RUF001  the dash people expect in an empty cell


def to_json(results: Sequence[Result], *, data: str, split: str) -> dict[str, Any]:
    """The document of `segx eval --json`.

    Args:
        results: one entry a model.
        data: the data set as the user named it.
        split: the split's name.
    """
    return {"segx": segx_version(), "data": data, "split": split, "results": [_entry(result) for result in results]}


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document of `to_json`, whole or not at all.

    Raises:
        SetupError: no permission, full disk.
    """
    atomic.write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def table(results: Sequence[Result]) -> Table:
    """Models side by side: a column each and, where there are few, the difference of each to the first."""
    first = results[0]
    compared = len(results) <= _NAMED
    headings, legend = _headings(results)
    grid = Table(caption=legend + _caption(results), caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    grid.add_column("", overflow="fold")
    for position, heading in enumerate(headings):
        grid.add_column(heading, justify="right", overflow="fold")
        if position and compared:
            grid.add_column("diff", justify="right", no_wrap=True)

    def row(name: str, values: Sequence[float], digits: int, *, better: int = 1, end: bool = False) -> None:
        cells = [Text(_number(values[0], digits))]
        for value in values[1:]:
            cells.append(Text(_number(value, digits)))
            if compared:
                cells.append(_difference(value - values[0], digits, better))
        grid.add_row(name, *cells, end_section=end)

    row("mIoU", [result.miou for result in results], 4)
    row("pixel accuracy", [metrics.pixel_accuracy(result.matrix) for result in results], 4)
    row("boundary F1", [result.boundary_f1 for result in results], 4)
    if any(result.ece is not None for result in results):
        row("ECE", [_or_nan(result.ece) for result in results], 4, better=-1)
        row("Brier", [_or_nan(result.brier) for result in results], 4, better=-1)
    row("p50 ms", [result.latency.p50 for result in results], 1, better=-1)
    row("p95 ms", [result.latency.p95 for result in results], 1, better=-1)
    row("pictures/s", [result.images_per_second for result in results], 1)
    row("size MB", [result.size_bytes / 1e6 for result in results], 2, better=-1, end=bool(legend))
    if not legend:
        gates = [Text(result.gate.status) for result in results]
        grid.add_row("gate", gates[0], *(cell for gate in gates[1:] for cell in (gate, Text())), end_section=True)
    _, area, _ = tallies(first.matrix)
    labelled = max(int(first.matrix.sum()) // (len(area) if first.matrix.ndim == 3 else 1), 1)  # pixels
    for index, name in enumerate(first.classes):
        share = area[index] / labelled
        row(f"IoU {name} ({share:.1%})", [_class_iou(result, name) for result in results], 4)
    return grid


def _entry(result: Result) -> dict[str, Any]:
    return {
        "model": result.model,
        "provider": result.provider,
        "images": result.images,
        "classes": list(result.classes),
        "miou": _or_none(result.miou),
        "per_class_iou": {name: _or_none(value) for name, value in result.per_class_iou.items()},
        "pixel_accuracy": _or_none(metrics.pixel_accuracy(result.matrix)),
        "mean_dice": _or_none(metrics.mean_dice(result.matrix)),
        "fwiou": _or_none(metrics.fwiou(result.matrix)),
        "boundary_f1": _or_none(result.boundary_f1),
        "ece": _or_none(result.ece),
        "brier": _or_none(result.brier),
        "latency_ms": {"p50": result.latency.p50, "p95": result.latency.p95, "p99": result.latency.p99},
        "images_per_second": result.images_per_second,
        "size_bytes": result.size_bytes,
    }


def _caption(results: Sequence[Result]) -> str:
    providers = ", ".join(dict.fromkeys(result.provider for result in results))
    first = results[0]
    return (
        f"{first.images} pictures, {providers}. Times: the model alone, {first.latency.pictures} pictures; "
        "pictures/s: with decoding and scoring. Beside each class: its share of the labelled pixels."
    )


def _headings(results: Sequence[Result]) -> tuple[list[str], str]:
    """Column headings: names without a common suffix, or letters and the legend that explains them."""
    models = [result.model for result in results]
    suffixes = {PurePath(model).suffix for model in models}
    cut = suffixes.pop() if len(suffixes) == 1 else ""
    names = [model.removesuffix(cut) or model for model in models]
    if len(names) <= _NAMED:
        return names, ""
    letters = [chr(ord("A") + index % 26) * (1 + index // 26) for index in range(len(names))]
    lines = (
        f"{letter}: {result.model}, gate: {result.gate.status}\n"
        for letter, result in zip(letters, results, strict=True)
    )
    return letters, "".join(lines)


def _number(value: float, digits: int) -> str:
    return _DASH if math.isnan(value) else f"{value:.{digits}f}"


def _difference(value: float, digits: int, better: int) -> Text:
    """Signed, green where it is for the better, red where for the worse; colour only says what the sign says."""
    if math.isnan(value):
        return Text(_DASH)
    shown = f"{value:+.{digits}f}"
    if float(shown) == 0:
        return Text(f"{0:.{digits}f}", style="dim")
    return Text(shown, style="green" if value * better > 0 else "red")


def _class_iou(result: Result, name: str) -> float:
    return result.per_class_iou.get(name, math.nan)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _or_none(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
