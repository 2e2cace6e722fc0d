"""Times two networks as the float ONNX files they would become, side by side. Knows nothing of pruning."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from segx_core.card import Card
from segx_core.predictor import Predictor
from segx_export.deploy import deploy_card, deploy_model
from segx_export.measure import latencies
from segx_export.modelfile import write_model
from segx_trainer.networks import SegmentationNet


def time_both(
    first: SegmentationNet, second: SegmentationNet, card: Card, size: tuple[int, int]
) -> tuple[float, float]:
    """Median milliseconds of each on the CPU, taken in turns.

    Args:
        first: in eval mode, on the CPU.
        second: likewise, of the same classes.
        card: of either.
        size: (height, width) of the picture, one at a time.
    """
    with tempfile.TemporaryDirectory(prefix="segx-") as folder:
        paths = [Path(folder) / "first.onnx", Path(folder) / "second.onnx"]
        for network, path in zip((first, second), paths, strict=True):
            write_model(deploy_model(network, thresholds=card.thresholds), deploy_card(card, "classmap"), path)
        runners = [Predictor.load(path, provider="cpu") for path in paths]
        picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        before, after = latencies(runners, picture)
    return float(np.median(before)), float(np.median(after))
