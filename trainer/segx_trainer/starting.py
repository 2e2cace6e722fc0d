"""What a new run begins with: defaults that depend on other keys, and the weights before the first step.

A resumed run takes none of this: its config is settled, and its weights lie in last.pt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segx_core.datasets import Dataset
from segx_core.errors import ConfigError
from segx_core.progress import console
from segx_trainer import losses, weights
from segx_trainer.checkpoint import LoadedRun, load_run
from segx_trainer.config import TrainConfig
from segx_trainer.networks import SegmentationNet

DISTILLING_LOSS = "ce + kd + 3*cwd"
"""The loss where a teacher and no loss is named: what is known of the labels, the pixels and the channels."""
_DISTILLING_TERMS = ("kd", "cwd")


@dataclass(frozen=True)
class Taken:
    """What a network took of a run's weights."""

    kept: tuple[str, ...]
    """Classes whose rows of the head were taken."""
    fresh: tuple[str, ...]
    """Classes whose rows are random."""


def settle(config: TrainConfig, data: Dataset) -> TrainConfig:
    """The config with what it leaves to other keys and to the machine decided, as config.yaml will keep it.

    The loss, where none is named, follows from task and teacher; `imagenet` weights become those of an installed
    package where there is one; a run started from another one names the encoder weights that one had.

    Raises:
        ConfigError: a teacher that nothing would learn from, or weights from two places.
        ModelError: `init` is no run folder.
    """
    changes: dict[str, Any] = {}
    if "loss" not in config.model_fields_set:
        distilling = config.teacher is not None and data.task == "multiclass"
        changes["loss"] = DISTILLING_LOSS if distilling else losses.usual(data.task)
    elif config.teacher is not None and "teacher_logits" not in losses.needs(config.loss, data.task):
        raise ConfigError(
            f"a loss with {' or '.join(_DISTILLING_TERMS)} beside a teacher",
            f"'{config.loss}'",
            f'Write for example --loss "{DISTILLING_LOSS}", or leave --teacher out.',
        )
    if config.init is None:
        changes["encoder_weights"] = weights.resolve_source(config.encoder, config.encoder_weights)
    else:
        changes["encoder_weights"] = _origin(config, load_run(Path(config.init)).config.encoder_weights)
    return config.model_copy(update=changes)


def _origin(config: TrainConfig, theirs: str) -> str:
    """The encoder weights a run is said to have that starts from a run of `theirs`: these, so that no card is wrong."""
    named = config.encoder_weights
    same = theirs in (named, weights.package_of(config.encoder, named))
    if "encoder_weights" in config.model_fields_set and not same:
        raise ConfigError(
            f"no encoder weights beside --init, or those of its run ({theirs})",
            f"'{named}'",
            "Leave --encoder-weights out: all weights come from that run.",
        )
    return theirs


def as_settled(saved: TrainConfig, overrides: dict[str, Any]) -> dict[str, Any]:
    """The options given on resuming, so that those which led to the settled config `saved` do not seem to change it."""
    source = overrides.get("encoder_weights")
    if isinstance(source, str) and saved.encoder_weights == weights.package_of(saved.encoder, source):
        return {**overrides, "encoder_weights": saved.encoder_weights}
    return overrides


def fill(network: SegmentationNet, config: TrainConfig, data: Dataset) -> None:
    """Give a network the weights its run starts with: those of the run `init`, or the encoder's, or none.

    Raises:
        ConfigError: they do not fit the network.
        ModelError: `init` is no run folder.
        SetupError: the encoder's cannot be had here.
    """
    if config.init is None:
        expected = weights.load_encoder_weights(network.encoder, config.encoder, config.encoder_weights)
        if expected is not None:
            network.expect(expected)
        return
    taken = take_run(network, load_run(Path(config.init)), config, data)
    fresh = f"; fresh rows for {', '.join(taken.fresh)}" if taken.fresh else ""
    kept = ", ".join(taken.kept) or "no class"
    console().print(
        f"init: encoder and decoder from {config.init}, rows of the head for {kept}{fresh}",
        markup=False,
        soft_wrap=True,
    )


def take_run(network: SegmentationNet, source: LoadedRun, config: TrainConfig, data: Dataset) -> Taken:
    """Copy a run's weights into `network`, in place; its head keeps random rows for classes the run does not know.

    Args:
        network: of `data`'s classes.
        source: the run; its network must be the one `config` names.
        config: says what to call things in messages.
        data: names the classes, in the order of the head's rows, and the task.

    Raises:
        ConfigError: another network, encoder or decoder.
    """
    rows = {"head.0.weight", "head.0.bias"}
    state, own = source.network.state_dict(), network.state_dict()
    _must_fit(state, own, rows, source, config)
    same_task = source.card.task == data.task  # a row for softmax means something else than one for a sigmoid
    places = {name: place for place, name in enumerate(source.card.classes)} if same_task else {}
    pairs = [(row, places[name]) for row, name in enumerate(data.classes) if name in places]
    here, there = torch.tensor([pair[0] for pair in pairs]).long(), torch.tensor([pair[1] for pair in pairs]).long()
    for key in rows & own.keys():
        mixed = own[key].clone()
        mixed[here] = state[key][there]
        state[key] = mixed
    network.load_state_dict(state)
    kept = tuple(name for name in data.classes if name in places)
    return Taken(kept, tuple(name for name in data.classes if name not in places))


def _must_fit(
    state: dict[str, Tensor], own: dict[str, Tensor], rows: set[str], source: LoadedRun, config: TrainConfig
) -> None:
    """Refuse weights of another network; the number of classes may differ."""

    def shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
        return {key: value.shape[1:] if key in rows else value.shape for key, value in tensors.items()}

    ours, theirs = shapes(own), shapes(state)
    if ours == theirs:
        return
    example = next(key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key))
    origin = source.config
    pruned = ", pruned" if source.network.pruned else ""
    raise ConfigError(
        f"a run of {config.model} with {config.encoder} and decoder_channels {config.decoder_channels} for --init",
        f"{origin.model} with {origin.encoder} and decoder_channels {origin.decoder_channels}{pruned} in "
        f"{config.init} (they differ in '{example}')",
        f"Take the run's own network: its {config.init}/config.yaml names it.",
    )
