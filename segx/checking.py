"""`segx data check` past its options: what was understood, a table of the classes, the findings, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from segx_core import atomic
from segx_core.datasets import Dataset, open_dataset
from segx_core.datasets.check import Checked, check
from segx_core.errors import DataError

_BAR, _SHORT_BAR = 16, 3  # characters of the longest bar; the short one where a table of many splits must fit
_SHOWN = 20  # findings of one kind that are printed; --json has all
_EIGHTHS = " ▏▎▍▌▋▊▉"


def run_check(source: str, document: Path | None) -> None:
    """Check, print to stdout, and write the numbers to `document` if asked, also where the data are no good.

    Raises:
        DataError: they cannot be opened, or not be trained on.
    """
    try:
        data = open_dataset(source)
    except DataError as error:
        if document:
            found = {"level": "error", "kind": "layout", "message": str(error), "files": []}
            _write(document, {"data": source, "usable": False, "findings": [found]})
        raise
    checked = check(data)
    if document:
        _write(document, to_json(checked))
    console = Console()
    for line in _understood(data):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(table(checked))
    if checked.shift is not None:
        said = f"train and val differ by {checked.shift:.4f} bit (Jensen-Shannon; 0: alike, 1: nothing shared)."
        console.print(said, markup=False, soft_wrap=True)
    for line in _told(checked):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not checked.usable:
        errors = [one for one in checked.findings if one.level == "error"]
        first = errors[0].message
        if len(errors) == 1:
            raise DataError("data that can be trained on", f"1 error: {first}")
        others = "The others stand above."
        raise DataError("data that can be trained on", f"{len(errors)} errors, the first: {first}", others)


def to_json(checked: Checked) -> dict[str, Any]:
    """The numbers, with every finding and file."""
    data = checked.data
    return {
        "data": data.source,
        "layout": data.layout,
        "task": data.task,
        "encoding": data.encoding.kind,
        "classes": list(data.classes),
        "ignore": data.ignore_index,
        "notes": list(data.notes),
        "usable": checked.usable,
        "shift": checked.shift,
        "splits": {
            split: {
                "samples": len(data.split(split)),
                "pixels": int(scan.sizes.prod(axis=1).sum()),
                "ignored": int(scan.ignored.sum()),
                "class_pixels": dict(zip(data.classes, scan.class_pixels.tolist(), strict=True)),
                "class_pictures": dict(zip(data.classes, scan.class_pictures.tolist(), strict=True)),
            }
            for split, scan in checked.scans.items()
        },
        "findings": [
            {"level": one.level, "kind": one.kind, "message": one.message, "files": list(one.files)}
            for one in checked.findings
        ],
    }


def table(checked: Checked) -> Table:
    """Share of the labelled pixels and number of pictures, by class and split."""
    out = Table(title="classes: share of the labelled pixels, pictures that hold it", title_justify="left")
    out.add_column("class", no_wrap=True)
    for split in checked.scans:
        out.add_column(split, no_wrap=True)
    length = _BAR if len(checked.scans) <= 2 else _SHORT_BAR
    largest = max([float(scan.shares.max()) for scan in checked.scans.values()] or [0.0])
    for index, name in enumerate(checked.data.classes):
        cells = []
        for scan in checked.scans.values():
            share = float(scan.shares[index])
            cells.append(f"{share:7.2%} {scan.class_pictures[index]:5} {_bar(share, largest, length)}")
        out.add_row(name, *cells)
    ends = [f"{scan.ignored.sum() / max(1, scan.sizes.prod(axis=1).sum()):7.2%}" for scan in checked.scans.values()]
    out.add_section()
    out.add_row("ignored (of all)", *ends)
    return out


def _bar(share: float, largest: float, length: int) -> str:
    eighths = round(8 * length * share / largest) if largest else 0
    eighths = max(eighths, 1) if share else 0  # what is there is seen
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).strip()


def _understood(data: Dataset) -> list[str]:
    splits = ", ".join(f"{split} {len(samples)}" for split, samples in data.splits.items())
    many = {"multilabel": "several classes a pixel", "multiclass": "one class a pixel"}[data.task]
    return [
        f"{data.source}: layout {data.layout}, masks {data.encoding.kind} ({many}), {len(data.classes)} classes, "
        f"ignored value {data.ignore_index}; pictures: {splits}.",
        *data.notes,
    ]


def _told(checked: Checked) -> list[str]:
    lines = []
    shown: dict[tuple[str, str], int] = {}
    for one in checked.findings:
        key = one.level, one.kind
        shown[key] = shown.get(key, 0) + 1
        if shown[key] <= _SHOWN:
            lines.append(f"{one.level}: {one.message}")
    lines += [
        f"{level}: {number - _SHOWN} more of this kind ({kind}); --json FILE lists all."
        for (level, kind), number in shown.items()
        if number > _SHOWN
    ]
    return lines or ["Nothing is wrong with it."]


def _write(path: Path, values: dict[str, Any]) -> None:
    atomic.write_text(path, json.dumps(values, indent=2) + "\n")
