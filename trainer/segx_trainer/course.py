"""Whether a loss whose terms look at the course of training fits the rest of a config."""

from __future__ import annotations

from segx_core.errors import ConfigError
from segx_core.progress import console
from segx_trainer.config import TrainConfig
from segx_trainer.losses import CombinedLoss


def check_course(config: TrainConfig, objective: CombinedLoss) -> None:
    """Refuse what cannot work; say on the console what probably was not meant.

    Raises:
        ConfigError: a consistency with no average to be consistent with, or momentum that never fades.
    """
    if "average_logits" in objective.needs and config.ema is None:
        raise ConfigError(
            "ema for the ema_consistency term of the loss",
            f"none, and the loss '{config.loss}'",
            "Add --set ema=0.999.",
        )
    mu = objective.momentum
    if mu >= 1:
        raise ConfigError("momentum terms whose weight times mu is below 1", f"{mu:g}", "They would grow without end.")
    own = config.momentum if config.optimizer == "sgd" else 0.9  # Adam's first beta
    if mu > 0 and own > 0:
        cure = "--set momentum=0" if config.optimizer == "sgd" else "--optimizer sgd --set momentum=0"
        console().print(
            f"loss: 'momentum' adds {mu:g} of the last gradient, and {config.optimizer} has momentum of its own "
            f"({own:g}): both together overshoot easily. {cure} leaves the one of the loss.",
            markup=False,
            soft_wrap=True,
        )
