"""Asks the peers for their values; prints JSON. Runs in the peers' own environment, never in segx's tests.

    python -m bench.train.peers_worker

A peer that cannot be imported is told with the reason. Imports nothing of segx.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.train import peers_cases as cases
from bench.train.peers_cases import IGNORED, Inputs


def main() -> None:
    """Every case, one JSON object."""
    asked: dict[str, Callable[[], float | str]] = {
        "smp_ce_defaults": smp_ce_defaults,
        "smp_ce_ignored": smp_ce_ignored,
        "smp_focal": lambda: smp_focal(0.0),
        "smp_focal_shifted": lambda: smp_focal(5.0),
        "mmseg_missed": lambda: mmseg_dice(cases.missed_class()),
        "mmseg_ignored": lambda: mmseg_dice(cases.half_ignored()),
        "ultralytics_absent": ultralytics_dice,
        "torchmetrics_miou": torchmetrics_miou,
        "evaluate_recall": evaluate_recall,
        "torch_all_ignored": torch_all_ignored,
    }
    answers: dict[str, Any] = {}
    for name, ask in asked.items():
        try:
            answers[name] = {"value": ask()}
        except ImportError as error:
            answers[name] = {"error": f"not installed: {error}"}
    packages = ("torch", "segmentation-models-pytorch", "mmsegmentation", "ultralytics", "torchmetrics")
    versions = {name: version for name in packages if (version := version_of(name))}
    print(json.dumps({"answers": answers, "versions": versions}))


def version_of(package: str) -> str | None:
    """Installed version, None where it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def tensors(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Logits and target for torch."""
    return torch.from_numpy(inputs.logits), torch.from_numpy(inputs.target)


def smp_ce_defaults() -> float | str:
    """SoftCrossEntropyLoss as its signature offers it."""
    losses = importlib.import_module("segmentation_models_pytorch.losses")
    try:
        return float(losses.SoftCrossEntropyLoss()(*tensors(cases.labelled())))
    except TypeError:
        return "TypeError"


def smp_ce_ignored() -> float:
    """The same without smoothing, where most is ignored."""
    losses = importlib.import_module("segmentation_models_pytorch.losses")
    return float(losses.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=IGNORED)(*tensors(cases.mostly_ignored())))


def smp_focal(shift: float) -> float:
    """Multiclass focal loss, all logits raised by `shift`."""
    losses = importlib.import_module("segmentation_models_pytorch.losses")
    logits, target = tensors(cases.labelled())
    return float(losses.FocalLoss("multiclass")(logits + shift, target))


def mmseg_dice(inputs: Inputs) -> float:
    """DiceLoss on softmax. Its file alone is loaded: the package around it wants mmcv's compiled operators."""
    spec = importlib.util.find_spec("mmseg")
    if spec is None or spec.origin is None:
        raise ImportError("mmseg")
    for name, folder in (("mmseg.models", "models"), ("mmseg.models.losses", "models/losses")):
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = [str(Path(spec.origin).parent / folder)]
            sys.modules[name] = package
    module = importlib.import_module("mmseg.models.losses.dice_loss")
    return float(module.DiceLoss(use_sigmoid=False)(*tensors(inputs)))


def ultralytics_dice() -> float:
    """MultiChannelDiceLoss on a one-hot target."""
    module = importlib.import_module("ultralytics.utils.loss")
    logits, target = tensors(cases.few_classes())
    planes = functional.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2).float()
    return float(module.MultiChannelDiceLoss()(logits, planes))


def torchmetrics_miou() -> float:
    """MeanIoU over two pictures."""
    module = importlib.import_module("torchmetrics.segmentation")
    metric = module.MeanIoU(num_classes=2, input_format="index")
    target, guess = cases.two_pictures()
    for one, other in zip(guess, target, strict=True):
        metric.update(torch.from_numpy(one)[None], torch.from_numpy(other)[None])
    return float(metric.compute())


def evaluate_recall() -> float:
    """IoU of class 1 by the formula of `mean_iou` of Hugging Face's evaluate (0.4), ignore_index=0.

    Written out, because the metric is a script that is fetched from a hub when it is used: pixels whose label is the
    ignored one are dropped from both maps, then intersection and union are histograms of what is left.
    """
    target, guess = cases.false_alarms()
    kept = target != 0
    labels, found = target[kept], guess[kept]
    common = count(found[labels == found])
    return float(common / (count(found) + count(labels) - common))


def count(values: NDArray[np.int64]) -> int:
    """Pixels of class 1."""
    return int((values == 1).sum())


def torch_all_ignored() -> float | str:
    """cross_entropy where nothing counts; NaN as text, which JSON lacks."""
    value = float(functional.cross_entropy(*tensors(cases.all_ignored()), ignore_index=IGNORED))
    return "NaN" if value != value else value


if __name__ == "__main__":
    main()
