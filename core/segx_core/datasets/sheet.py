"""A contact sheet: pictures of a split beside the same with their labels laid over, and what the colours mean.

It chooses pictures so that rare classes are among them. Where the sheet is written is the caller's business.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segx_core.datasets.dataset import Dataset, Sample
from segx_core.datasets.scan import Scan, scan
from segx_core.errors import DataError, near
from segx_core.meaning import meaning
from segx_core.progress import track
from segx_core.runner import UInt8

_WIDTH = 300  # pixels of one picture
_TALLEST = 300
_GAP = 12
_LINE = 20  # height of a line of text
_LETTERS = 13
_COLUMNS = 2  # pairs of a picture and its overlay
_LEGEND_COLUMNS = 4
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_IGNORED = 0.35  # brightness that ignored pixels keep


def draw(data: Dataset, split: str, count: int, label: str | None = None) -> bytes:
    """Draw the sheet.

    Args:
        data: what to show.
        split: of it.
        count: most pictures to show.
        label: show pictures that hold this class, with its pixels alone laid over.

    Returns:
        A PNG.

    Raises:
        DataError: no such split or class, no picture that holds it, or masks that cannot be read.
    """
    if label is not None and label not in data.classes:
        raise DataError(f"a class of {data.source}", f"'{label}'", near(label, data.classes))
    samples, counted = data.split(split), scan(data, split)
    wanted = None if label is None else data.classes.index(label)
    chosen = choose(counted, count) if wanted is None else holding(counted, wanted, count)
    if not chosen:
        raise DataError(f"pictures in {split} that hold '{label or 'anything'}'", "none")
    pairs = [_pair(data, samples[index], wanted) for index in track(chosen, "draw the sheet", unit="pictures")]
    return _encode(_lay_out(data, split, counted, [samples[index] for index in chosen], pairs, wanted))


def choose(counted: Scan, count: int) -> list[int]:
    """Indices of at most `count` samples, in order.

    The classes take turns, the rarest first: each takes the sample that has most of it and is not taken. Samples with
    no labels come last.
    """
    queues = []
    for label in np.argsort(counted.class_pixels, kind="stable"):
        rows = np.flatnonzero(counted.classes == label)
        queues.append(counted.rows[rows[np.argsort(-counted.pixels[rows], kind="stable")]].tolist())
    taken: list[int] = []
    while True:
        before = len(taken)
        for queue in queues:
            fresh = next((sample for sample in queue if sample not in taken), None)
            if fresh is not None and len(taken) < count:
                taken.append(fresh)
        if len(taken) == before:
            break
    rest = [sample for sample in range(len(counted)) if sample not in taken]
    return sorted(taken + rest[: count - len(taken)])


def holding(counted: Scan, label: int, count: int) -> list[int]:
    """Indices of at most `count` samples that hold a class: at even distances among the half that hold most of it."""
    rows = np.flatnonzero(counted.classes == label)
    most = rows[np.argsort(-counted.pixels[rows], kind="stable")][: max(count, len(rows) // 2)]
    there = np.sort(counted.rows[most])
    number = min(count, len(there))
    return [int(there[place * len(there) // number]) for place in range(number)]


def _pair(data: Dataset, sample: Sample, wanted: int | None) -> tuple[Image.Image, Image.Image]:
    image, mask = data.read(sample)
    labels: NDArray[Any] = mask
    ignored = labels == data.ignore_index
    reader = meaning(data.task)
    if wanted is not None and data.task == "multilabel":
        labels = labels & labels.dtype.type(1 << wanted)
    elif wanted is not None:
        labels = np.where(labels == wanted, labels, np.iinfo(labels.dtype).max)
    shown: UInt8 = reader.overlay(image, np.where(ignored, 0, labels).astype(labels.dtype), data.palette, 0.6)
    shown[ignored] = (image[ignored] * _IGNORED).astype(np.uint8)
    scale = min(_WIDTH / image.shape[1], _TALLEST / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    first, second = (Image.fromarray(pixels).resize(size, Image.Resampling.BOX) for pixels in (image, shown))
    return first, second


def _lay_out(
    data: Dataset,
    split: str,
    counted: Scan,
    samples: Sequence[Sample],
    pairs: Sequence[tuple[Image.Image, Image.Image]],
    wanted: int | None,
) -> Image.Image:
    columns = min(_COLUMNS, len(pairs))
    rows = [pairs[start : start + columns] for start in range(0, len(pairs), columns)]
    heights = [max(first.height for first, _ in row) + _LINE + _GAP for row in rows]
    labels = list(range(len(data.classes))) if wanted is None else [wanted]
    legend_columns = min(_LEGEND_COLUMNS, 2 * columns)
    legend_lines = -(-len(labels) // legend_columns) + 1
    cell = 2 * _WIDTH + _GAP
    width = columns * cell + (columns + 1) * _GAP
    top = 2 * _LINE + _GAP
    sheet = Image.new("RGB", (width, top + sum(heights) + legend_lines * _LINE + 2 * _GAP), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LETTERS)
    pen.text((_GAP, _GAP), f"{data.source}, {split}: {len(pairs)} of {len(counted)} pictures", _INK, font)
    left_text = "ignored pixels are dark" if wanted is None else f"only '{data.classes[wanted]}' is coloured"
    pen.text((_GAP, _GAP + _LINE), left_text, _FAINT, font)
    y = top
    names = iter(samples)
    for row, height in zip(rows, heights, strict=True):
        for column, (first, second) in enumerate(row):
            x = _GAP + column * (cell + _GAP)
            sheet.paste(first, (x, y))
            sheet.paste(second, (x + _WIDTH + _GAP, y))
            pen.text((x, y + height - _LINE - _GAP + 3), _fitting(next(names).name, cell, font), _FAINT, font)
        y += height
    y += _GAP
    step = (width - 2 * _GAP) // legend_columns
    for place, index in enumerate(labels):
        x, line = _GAP + place % legend_columns * step, y + place // legend_columns * _LINE
        pen.rectangle((x, line + 2, x + 14, line + 16), fill=data.palette[index], outline=_FAINT)
        text = f"{data.classes[index]}  {counted.shares[index]:.2%} of pixels, {counted.class_pictures[index]} pictures"
        pen.text((x + 20, line + 1), _fitting(text, step - 24, font), _INK, font)
    return sheet


def _fitting(text: str, width: int, font: Any) -> str:
    while len(text) > 4 and font.getlength(text) > width:
        text = f"{text[:-4]}..."
    return text


def _encode(sheet: Image.Image) -> bytes:
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()
