"""What a run does about rare classes, settled once: weights and prior of its loss, and its plan of visits.

Made from a count of the training split and written into the run, so that a resumed run reads what the first one made,
whatever became of a file of weights meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from segx_core import atomic
from segx_core.datasets import Dataset
from segx_core.datasets.scan import Scan, scan
from segx_core.errors import ModelError
from segx_core.progress import console
from segx_trainer import losses
from segx_trainer.class_weights import RULES, by_rule, from_file
from segx_trainer.config import TrainConfig
from segx_trainer.loading import Plan
from segx_trainer.losses.grammar import parse
from segx_trainer.rare import RarePlan
from segx_trainer.standins import lenient

FILE = "class_weights.json"
"""In the run folder, where the loss weighs classes or needs their prior."""

_NEED_PRIOR = frozenset({"logit_adjust"})  # losses that ask how often a class is to be expected


@dataclass(frozen=True)
class Balance:
    """(K,) each, in the order of the classes; None where the run does without."""

    weights: tuple[float, ...] | None = None
    prior: tuple[float, ...] | None = None
    """Share of the labelled pixels, above 0 and adding up to 1."""


def inherit(source: Path, run: Path) -> None:
    """Give a run that trains the network of another one further, pruned or for int8, the weights of that one's loss."""
    if (source / FILE).is_file():
        atomic.write_text(run / FILE, (source / FILE).read_text(encoding="utf-8"))


def build_objective(config: TrainConfig, run: Path, data: Dataset, settled: bool) -> losses.CombinedLoss:
    """The run's loss, with its class weights, which are told on the console when they are made, and kept in the run.

    `settled` says that the run holds them already: it is resumed, or inherited them.

    Raises:
        SegxError: weights or masks that cannot be read, a loss that cannot be built.
    """
    balance = settle(config, run, data, settled)
    return losses.build(
        config.loss,
        len(data.classes),
        data.ignore_index,
        class_weights=balance.weights,
        task=data.task,
        class_prior=balance.prior,
    )


def settle(config: TrainConfig, run: Path, data: Dataset, settled: bool) -> Balance:
    """The weights and prior of a run: those that stand in it if `settled`, else made now and written there."""
    wants_prior = bool(_NEED_PRIOR & {term.name for term in parse(config.loss)})
    if config.class_weights == "none" and not wants_prior:
        return Balance()
    path = run / FILE
    if settled:
        return _read(path, data.classes)
    counted = _scan(config, data) if config.class_weights in RULES or wants_prior else None
    weights = prior = None
    if config.class_weights in RULES and counted is not None:
        weights = tuple(by_rule(config.class_weights, counted, data.task == "multilabel").tolist())
    elif config.class_weights != "none":
        weights = tuple(from_file(Path(config.class_weights).expanduser(), data.classes).tolist())
    if wants_prior and counted is not None:
        prior = tuple(class_prior(counted).tolist())
    balance = Balance(weights, prior)
    atomic.write_text(path, _text(balance, data.classes))
    if weights is not None:
        console().print(_table(weights, config.class_weights, data.classes, counted))
    return balance


def class_prior(counted: Scan) -> NDArray[np.float64]:
    """(K,) share of the labelled pixels; of an absent class as if it had one, to have a logarithm."""
    pixels = np.maximum(counted.class_pixels, 1)
    prior: NDArray[np.float64] = pixels / pixels.sum()
    return prior


def build_plan(config: TrainConfig, data: Dataset, plain: Plan) -> Plan:
    """The plan of the training split that draws as the run's sampler says: `plain` itself, or one made of it."""
    if config.sampler == "uniform":
        return plain
    return RarePlan(plain, _scan(config, data), config.sampler_share, config.sampler_temperature)


def _scan(config: TrainConfig, data: Dataset) -> Scan:
    return scan(lenient(data) if config.unreadable == "skip" else data, "train")


def _table(weights: Sequence[float], rule: str, classes: Sequence[str], counted: Scan | None) -> Table:
    table = Table(title=f"class weights: {rule}", title_justify="left")
    table.add_column("class")
    if counted is not None:
        table.add_column("share of pixels", justify="right")
        table.add_column("pictures", justify="right")
    table.add_column("weight", justify="right")
    for index, name in enumerate(classes):
        found = [] if counted is None else [f"{counted.shares[index]:.2%}", str(counted.class_pictures[index])]
        table.add_row(name, *found, f"{weights[index]:.3f}")
    return table


def _text(balance: Balance, classes: Sequence[str]) -> str:
    named = {
        key: None if values is None else dict(zip(classes, values, strict=True))
        for key, values in (("weights", balance.weights), ("prior", balance.prior))
    }
    return json.dumps(named, indent=2) + "\n"


def _read(path: Path, classes: Sequence[str]) -> Balance:
    try:
        named = json.loads(path.read_text(encoding="utf-8"))
        found = [
            None if named[key] is None else tuple(float(named[key][name]) for name in classes)
            for key in ("weights", "prior")
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the class weights of the run in {path}", f"{type(error).__name__}: {error}", "Start a new run with --out."
        ) from error
    return Balance(*found)
