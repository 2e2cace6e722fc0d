"""Small text files that annotation tools leave beside masks: names of classes, often with their colours.

Understood: labelmap.txt (CVAT), class_dict.csv, label_colors.txt (CamVid), classes.txt / class_names.txt / labels.txt.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from segx_core.datasets.labels import Labels, free_ignore
from segx_core.datasets.masks import Color, MaskEncoding, load
from segx_core.errors import DataError
from segx_core.palette import default_palette

_COLORED = ("labelmap.txt", "class_dict.csv", "label_colors.txt")
_NAMES = ("class_names.txt", "classes.txt", "labels.txt")
_IGNORED = frozenset({"void", "ignore", "__ignore__", "unlabeled", "unlabelled"})

Entry = tuple[str, Color | None]


def find(root: Path, masks: Sequence[Path]) -> Labels | None:
    """Read the first such file that stands in `root`; None where there is none. `masks` tell index from colour.

    Raises:
        DataError: the file cannot be understood.
    """
    for name in (*_COLORED, *_NAMES):
        if (root / name).is_file():
            return _labels(root / name, masks)
    return None


def _labels(path: Path, masks: Sequence[Path]) -> Labels:
    entries = _read(path)
    classes = [entry for entry in entries if entry[0].lower() not in _IGNORED]
    names = tuple(name for name, _ in classes)
    if not names or len(set(names)) < len(names):
        raise DataError("names of classes that differ", f"{', '.join(names) or 'none'} in {path}", "Mend that file.")
    ignore = free_ignore(len(names))
    note = f"{len(names)} classes are read from {path.name}."
    plain = default_palette(len(names))
    palette = tuple(color or plain[index] for index, (_, color) in enumerate(classes))
    if all(color for _, color in classes) and load(masks[0]).ndim == 3:
        colors = [(color, index) for index, (_, color) in enumerate(classes) if color]
        colors += [(color, ignore) for name, color in entries if name.lower() in _IGNORED and color]
        return Labels(names, palette, ignore, MaskEncoding("rgb", tuple(colors)), (note,))
    return Labels(names, palette, ignore, MaskEncoding("index"), (note,))


def _read(path: Path) -> list[Entry]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("a text file of class names", f"{path}: {error}", "Save it as UTF-8.") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    try:
        match path.name:
            case "labelmap.txt":  # name:r,g,b:parts:actions
                return [(line.split(":")[0], _color(line.split(":")[1].split(","))) for line in lines]
            case "class_dict.csv":  # name,r,g,b under a heading
                return [(row[0].strip(), _color(row[1:4])) for row in list(csv.reader(lines))[1:]]
            case "label_colors.txt":  # r g b name
                return [(" ".join(line.split()[3:]), _color(line.split()[:3])) for line in lines]
            case _:
                return [(line, None) for line in lines]
    except (IndexError, ValueError) as error:
        raise DataError("names and colours of classes", f"{path}: {error}", "Mend or remove that file.") from error


def _color(parts: Sequence[str]) -> Color:
    red, green, blue = (int(part) for part in parts)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"a colour outside 0-255: {red}, {green}, {blue}")
    return red, green, blue
