"""Draws what people look at while a run trains: curves.png and preview.png. Reads numbers, decides nothing."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from segx_core import atomic, picture
from segx_core.card import Color
from segx_core.cv import cv2
from segx_core.meaning import meaning
from segx_trainer.decide import decide, usual_thresholds
from segx_trainer.loading import Pictures
from segx_trainer.networks import SegmentationNet

_PREVIEW_ROWS = 4
_PREVIEW_WIDTH = 320  # pixels of one picture in the preview


def draw_curves(
    path: Path, records: Sequence[dict[str, Any]], classes: Sequence[str], palette: Sequence[Color]
) -> None:
    """Loss with its terms, learning rate, mIoU and IoU per class over the steps.

    Args:
        path: the PNG to write.
        records: the lines of metrics.jsonl.
        classes: their names, in order of index.
        palette: one colour each.
    """
    steps = [record for record in records if record["kind"] == "train"]
    checks = [record for record in records if record["kind"] == "val"]
    figure = Figure(figsize=(13, 4), layout="constrained")
    loss, score, each = figure.subplots(1, 3)
    loss.plot([r["step"] for r in steps], [r["loss"] for r in steps], color="black", linewidth=1, label="loss")
    names = list(steps[-1]["terms"]) if steps else []
    for name in names if len(names) > 1 else []:
        loss.plot([r["step"] for r in steps], [r["terms"][name] for r in steps], linewidth=0.8, alpha=0.8, label=name)
    loss.set(title="training loss", xlabel="step")
    loss.legend(frameon=False)
    rate = loss.twinx()
    rate.plot([r["step"] for r in steps], [r["lr"] for r in steps], color="tab:gray", linestyle=":", linewidth=1)
    rate.set_ylabel("learning rate (dotted)")
    at = [r["step"] for r in checks]
    score.plot(at, [r["miou"] for r in checks], marker="o", markersize=3, label="mIoU")
    score.plot(at, [r["pixel_accuracy"] for r in checks], marker="o", markersize=3, label="pixel accuracy")
    if checks:
        best = max(checks, key=lambda r: r["miou"])
        score.set_title(f"validation: best mIoU {best['miou']:.4f} at step {best['step']}")
    score.set(xlabel="step", ylim=(0, 1))
    score.legend(frameon=False, loc="lower right")
    score.grid(alpha=0.3)
    for name, color in zip(classes, palette, strict=True):
        values = [np.nan if r["per_class_iou"][name] is None else r["per_class_iou"][name] for r in checks]
        shade = tuple(0.85 * channel / 255 for channel in color)  # white lines would vanish on white
        each.plot(at, values, color=shade, marker="o", markersize=3, linewidth=1.2, label=name)
    each.set(title="validation IoU per class", xlabel="step", ylim=(0, 1))
    each.grid(alpha=0.3)
    if len(classes) <= 24:
        each.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    atomic.write_bytes(path, buffer.getvalue())


def draw_preview(path: Path, network: SegmentationNet, pictures: Pictures, device: torch.device) -> None:
    """A sheet of rows: picture, truth, prediction, for a few evenly spaced validation pictures."""
    whole = [index for index in range(len(pictures)) if index not in pictures.broken]
    picks = np.linspace(0, len(whole) - 1, min(_PREVIEW_ROWS, len(whole))).round().astype(int)
    data = pictures.data
    reader, thresholds = meaning(data.task), usual_thresholds(data.task, network.num_classes)
    was_training = network.training
    network.eval()
    rows = []
    for index in picks:
        image, mask = pictures[whole[index]]
        with torch.inference_mode():
            guess = decide(network(image.unsqueeze(0).to(device)), thresholds)[0].cpu().numpy()
        shown = image.permute(1, 2, 0).contiguous().numpy()
        maps = (mask.numpy(), guess)
        rows.append([shown, *(reader.overlay(shown, _small(one), data.palette, 0.65) for one in maps)])
    network.train(was_training)
    sheet = np.concatenate([np.concatenate([_fit(cell) for cell in row], axis=1) for row in rows])
    header = np.full((26, sheet.shape[1], 3), 255, np.uint8)
    for column, title in enumerate(("picture", "truth", "prediction")):
        at = (column * sheet.shape[1] // 3 + 6, 18)
        cv2.putText(header, title, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
    atomic.write_bytes(path, picture.encode_png(np.concatenate([header, sheet])))


def _small(labels: NDArray[np.integer]) -> NDArray[Any]:
    highest = labels.max(initial=0)  # past 16 bits only where pixels of 16 labels are ignored
    return labels.astype(np.uint8 if highest < 256 else np.uint16 if highest < 65536 else np.uint32)


def _fit(cell: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height = max(1, round(cell.shape[0] * _PREVIEW_WIDTH / cell.shape[1]))
    resized = cv2.resize(cell, (_PREVIEW_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)
