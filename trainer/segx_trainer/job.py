"""The fixed half of a training, and how a config and its data settle it. Nothing here changes while a run trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from segx_core.datasets import Dataset
from segx_core.errors import ConfigError
from segx_trainer import losses
from segx_trainer.balance import build_plan
from segx_trainer.config import TrainConfig
from segx_trainer.device import Arithmetic
from segx_trainer.loading import Pictures, Plan
from segx_trainer.progressive import Growth

_DEFAULT_EPOCHS = 50
_LARGEST_DEFAULT_CROP = 512


@dataclass(frozen=True)
class Job:
    """The fixed half of a training; the changing half is `State`."""

    config: TrainConfig
    run: Path
    data: Dataset
    data_sha256: str
    """The data's fingerprint when the run, or its resumption, began."""
    training: Pictures
    held_out: Pictures
    objective: losses.CombinedLoss
    arithmetic: Arithmetic
    plan: Plan
    total: int
    """Updates the run takes."""
    size: tuple[int, int]
    """(height, width) of training crops."""
    teacher: nn.Module | None = None
    """Whose logits the loss learns from, on the run's device and in eval mode; run only if the loss needs them."""


def plan_job(
    config: TrainConfig,
    run: Path,
    data: Dataset,
    objective: losses.CombinedLoss,
    arithmetic: Arithmetic,
    teacher: nn.Module | None,
) -> Job:
    """Read the pictures and settle the sizes a config leaves open."""
    skip = config.unreadable == "skip"
    training = Pictures(data, data.split("train"), config.cache, "train", skip)
    held_out = Pictures(data, data.split("val"), config.cache, "val", skip)
    plan = build_plan(config, data, Plan(len(training), config.batch_size, config.seed, config.accumulate))
    total = config.steps or (config.epochs or _DEFAULT_EPOCHS) * plan.steps_per_epoch
    size = config.size or crop_size(training)
    # Batch statistics need two values: where the encoder's last map, or the pooled branch of DeepLab, is one pixel.
    first = Growth(size, total, *(config.progressive or ())).at(0)  # the smallest crop
    single = config.model == "deeplabv3plus" or max(first) <= 2**config.encoder_depth
    if plan.batch_size < 2 and single:
        raise ConfigError(
            f"at least 2 pictures a batch for {config.model} in crops of {first[0]}x{first[1]}",
            f"{plan.batch_size}, of {len(training)} to train on",
            "Give more pictures, a larger --batch-size, or with unet and fpn a larger --size.",
        )
    fingerprint = data.fingerprint()
    return Job(config, run, data, fingerprint, training, held_out, objective, arithmetic, plan, total, size, teacher)


def crop_size(training: Pictures) -> tuple[int, int]:
    """The largest multiple of 32 inside the first picture, at most 512 a side, at least 32."""
    height, width = next(training.readable())[1].shape
    fit = [min(_LARGEST_DEFAULT_CROP, max(32, side // 32 * 32)) for side in (height, width)]
    return fit[0], fit[1]
