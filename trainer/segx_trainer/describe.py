"""Writes the card of a run: what the network is, where it comes from, what it was trained on."""

from __future__ import annotations

import platform

import segmentation_models_pytorch
import timm
import torch

from segx_core.card import Card, InputSpec, Normalisation, OutputSpec, SizeRule, Training
from segx_core.datasets import Dataset
from segx_trainer.config import TrainConfig
from segx_trainer.decide import usual_thresholds
from segx_trainer.networks import SegmentationNet


def describe(
    name: str,
    config: TrainConfig,
    data: Dataset,
    network: SegmentationNet,
    val_miou: float,
    step: int,
    epoch: float,
) -> Card:
    """The card that stands beside the checkpoint; export turns it into that of a file.

    Args:
        name: of the run.
        config: of the run.
        data: what it trains on.
        network: the one that trains; says how it normalises pictures.
        val_miou: of the weights the card describes, a fraction.
        step: updates done.
        epoch: passes over the training split done.
    """
    mean, std = network.expects()
    return Card(
        name=name,
        task=data.task,
        thresholds=usual_thresholds(data.task, len(data.classes)),
        classes=data.classes,
        palette=data.palette,
        ignore_index=data.ignore_index,
        inputs=(
            InputSpec(
                name="image",
                shape=("N", 3, "H", "W"),
                layout="NCHW",
                normalisation=Normalisation(scale=255, mean=mean, std=std, where="graph"),
            ),
        ),
        outputs=(
            OutputSpec(
                name="logits", kind="logits", dtype="float32", shape=("N", len(data.classes), "H", "W"), layout="NCHW"
            ),
        ),
        size=SizeRule(kind="dynamic"),
        training=Training(
            data=config.data,
            data_sha256=data.fingerprint(),
            network=config.model,
            encoder=config.encoder,
            encoder_weights=config.encoder_weights,
            loss=config.loss,
            teacher=config.teacher or "",
            init=config.init or "",
            seed=config.seed,
            epochs=round(epoch, 4),
            steps=step,
            val_miou=val_miou,
            versions={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "timm": timm.__version__,
                "segmentation-models-pytorch": segmentation_models_pytorch.__version__,
            },
        ),
    )
