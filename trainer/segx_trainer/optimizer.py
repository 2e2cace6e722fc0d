"""The optimizer a config names, with weight decay only where it belongs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from segx_trainer.config import TrainConfig
from segx_trainer.networks import SegmentationNet


def build_optimizer(network: SegmentationNet, config: TrainConfig, fused: bool) -> torch.optim.Optimizer:
    """Groups: encoder or not, decayed (weight matrices and kernels) or not (biases, normalisation).

    Every group carries `factor`, the part of the base learning rate it gets.
    """
    encoder = {id(parameter) for parameter in network.encoder.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        groups.setdefault((id(parameter) in encoder, parameter.ndim > 1), []).append(parameter)
    settings: list[dict[str, Any]] = [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if decayed else 0.0,
            "factor": config.encoder_lr_factor if in_encoder else 1.0,
        }
        for (in_encoder, decayed), parameters in groups.items()
    ]
    match config.optimizer:
        case "adamw":
            return torch.optim.AdamW(settings, lr=config.lr, fused=fused)
        case "adam":
            return torch.optim.Adam(settings, lr=config.lr, fused=fused)
        case "sgd":
            return torch.optim.SGD(settings, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
