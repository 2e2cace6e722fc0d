"""Draws what augmentation makes of some training pictures: augment.png of a run, and for whoever asks.

The versions shown of a sample are those that training sees in its first epochs (with `sampler: uniform`; `rare` moves
windows). Reads pictures, decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segx_core import atomic, picture
from segx_core.card import Color
from segx_core.cv import cv2
from segx_core.meaning import meaning
from segx_core.runner import UInt8
from segx_trainer import augment
from segx_trainer.loading import Pictures
from segx_trainer.standins import StandIns, lenient

_CELL = 240  # pixels of width
_ACROSS = 2  # samples beside each other
_GAP = 6
_LINE = 20  # pixels of height of a caption
_OPACITY = 0.4  # of the labels' colours: the picture's own must still be seen
_NAMED = 60  # classes at most in the legend


def draw_sheet(
    pictures: Pictures,
    policy: augment.Preset | augment.Policy,
    size: tuple[int, int],
    seed: int = 0,
    scale: tuple[float, float] | None = None,
    samples: int = 8,
    versions: int = 3,
) -> UInt8:
    """Evenly spaced samples, each as it is and as the first epochs see it, labels laid over; below, the classes.

    Args:
        pictures: of the training split.
        policy: a preset's name or what `augment.load` gave.
        size: (height, width) of training crops.
        seed: of the run.
        scale: takes the place of the policy's range of zoom.
        samples: at most so many.
        versions: epochs shown of each.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        SegxError: a picture that cannot be read, or a policy that does not fit the data.
    """
    chosen = policy if isinstance(policy, augment.Policy) else augment.named(policy)
    data = pictures.data
    known = lenient(data) if pictures.skip else data
    labels = augment.survey(chosen, known, [mask for _, mask in pictures.kept])
    steps = augment.preset(chosen, size, labels, scale)
    reader = meaning(data.task)

    def cell(image: Tensor, mask: Tensor, caption: str) -> UInt8:
        shown = image.permute(1, 2, 0).contiguous().numpy()
        fields: Any = mask.numpy().astype(np.uint32)  # unsigned: "no class" of multilabel maps lies past all colours
        return _cell(reader.overlay(shown, fields, data.palette, _OPACITY), caption, size)

    blocks = []
    for index in np.linspace(0, len(pictures) - 1, min(samples, len(pictures))).round().astype(int).tolist():
        shown, (image, mask) = StandIns(pictures, (seed, 0, index, 0)).find(index)
        row = [cell(image, mask, pictures.samples[shown].name)]
        for epoch in range(versions):
            rng = augment.stream(seed, epoch, index)
            pool = StandIns(pictures, (seed, epoch, index, 0))
            found = augment.apply(steps, image, mask, rng=rng, pool=pool)
            row.append(cell(*found, f"epoch {epoch + 1}"))
        blocks.append(_beside(row, _GAP // 2))
    empty = np.full_like(blocks[0], 255)
    across = min(_ACROSS, len(blocks))
    blocks += [empty] * (-len(blocks) % across)
    lines = [_beside(blocks[start : start + across], 2 * _GAP) for start in range(0, len(blocks), across)]
    return np.concatenate([*lines, _legend(data.classes, data.palette, lines[0].shape[1])])


def write_sheet(path: Path, sheet: UInt8) -> None:
    """Write a sheet as PNG, whole or not at all."""
    atomic.write_bytes(path, picture.encode_png(sheet))


def _cell(shown: UInt8, caption: str, size: tuple[int, int]) -> UInt8:
    """The picture inside a box of the crops' shape, its caption above."""
    box = (max(1, round(_CELL * size[0] / size[1])), _CELL)
    factor = min(box[0] / shown.shape[0], box[1] / shown.shape[1])
    height, width = (max(1, round(side * factor)) for side in shown.shape[:2])
    cell = np.full((box[0] + _LINE, box[1], 3), 255, np.uint8)
    cell[_LINE : _LINE + height, :width] = cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA)
    _write(cell, caption, (1, _LINE - 6))
    return cell


def _beside(cells: Sequence[UInt8], gap: int) -> UInt8:
    parts: list[NDArray[np.uint8]] = []
    for cell in cells:
        parts += [cell, np.full((cell.shape[0], gap, 3), 255, np.uint8)]
    return np.concatenate(parts[:-1], axis=1)


def _legend(classes: Sequence[str], palette: Sequence[Color], width: int) -> UInt8:
    """Coloured squares with names, in as many lines as they need; grey is what lies outside a picture."""
    names = [(name, color) for name, color in zip(classes, palette, strict=True)][:_NAMED]
    if len(classes) > _NAMED:
        names.append((f"and {len(classes) - _NAMED} more", (255, 255, 255)))
    lines: list[list[tuple[int, str, Color]]] = [[]]
    at = _GAP
    for name, color in names:
        wide = 24 + 8 * len(name) + 2 * _GAP
        if at + wide > width and lines[-1]:
            lines.append([])
            at = _GAP
        lines[-1].append((at, name, color))
        at += wide
    sheet = np.full((_GAP + (_LINE + 2) * len(lines), width, 3), 255, np.uint8)
    for row, line in enumerate(lines):
        top = _GAP + row * (_LINE + 2)
        for left, name, color in line:
            sheet[top : top + 14, left : left + 14] = color
            _write(sheet, name, (left + 20, top + 12))
    return sheet


def _write(sheet: UInt8, text: str, at: tuple[int, int]) -> None:
    cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
