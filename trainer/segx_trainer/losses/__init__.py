"""Losses by expression: `build("ce + 0.5*dice", num_classes=8)`.

A name maps to a term in the dict of its task below; the grammar is in grammar.py, the weighted sum in combined.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from segx_core.card import Task
from segx_core.errors import ConfigError, near
from segx_trainer.losses.boundary import Boundary, Hausdorff
from segx_trainer.losses.cldice import CenterlineDice
from segx_trainer.losses.combined import CombinedLoss
from segx_trainer.losses.consistency import EmaConsistency
from segx_trainer.losses.cross_entropy import CrossEntropy
from segx_trainer.losses.deep_supervision import DeepSupervision
from segx_trainer.losses.distillation import ChannelDistillation, PixelDistillation
from segx_trainer.losses.entropy import Entropy
from segx_trainer.losses.fenchel_young import Entmax15, Sparsemax
from segx_trainer.losses.focal import Focal
from segx_trainer.losses.grammar import Term, parse
from segx_trainer.losses.links import Link
from segx_trainer.losses.logit_adjust import LogitAdjusted
from segx_trainer.losses.lovasz import Lovasz
from segx_trainer.losses.momentum import Momentum
from segx_trainer.losses.nacl import NeighborCalibration
from segx_trainer.losses.ohem import HardPixels
from segx_trainer.losses.overlap import Dice, FocalTversky, GeneralizedDice, Jaccard, LogCoshDice, Tversky
from segx_trainer.losses.poly1 import Poly1
from segx_trainer.losses.probability import MeanAbsoluteError, MeanSquaredError
from segx_trainer.losses.rmi import RegionMutualInformation
from segx_trainer.losses.robust import GeneralizedCrossEntropy, SymmetricCrossEntropy
from segx_trainer.losses.sigmoid import BinaryCrossEntropy, SigmoidDice, SigmoidFocal
from segx_trainer.losses.sparsity import BatchNormL1
from segx_trainer.losses.term import Context, Loss

__all__ = ["CombinedLoss", "Context", "Link", "Loss", "build", "link", "names", "needs", "usual"]

TERMS: dict[str, type[Loss]] = {
    "ce": CrossEntropy,
    "mae": MeanAbsoluteError,
    "mse": MeanSquaredError,
    "focal": Focal,
    "poly1": Poly1,
    "ohem": HardPixels,
    "logit_adjust": LogitAdjusted,
    "gce": GeneralizedCrossEntropy,
    "sce": SymmetricCrossEntropy,
    "nacl": NeighborCalibration,
    "entropy": Entropy,
    "sparsemax": Sparsemax,
    "entmax15": Entmax15,
    "dice": Dice,
    "gdice": GeneralizedDice,
    "logcosh_dice": LogCoshDice,
    "jaccard": Jaccard,
    "lovasz": Lovasz,
    "tversky": Tversky,
    "focal_tversky": FocalTversky,
    "boundary": Boundary,
    "hausdorff": Hausdorff,
    "cldice": CenterlineDice,
    "rmi": RegionMutualInformation,
    "kd": PixelDistillation,
    "cwd": ChannelDistillation,
    "aux": DeepSupervision,
    "ema_consistency": EmaConsistency,
    "momentum": Momentum,
    "l1_bn": BatchNormL1,
}
"""Of multiclass data: softmax, one class a pixel."""
SIGMOID_TERMS: dict[str, type[Loss]] = {
    "bce": BinaryCrossEntropy,
    "dice": SigmoidDice,
    "focal": SigmoidFocal,
    "momentum": Momentum,
    "l1_bn": BatchNormL1,
}
"""Of multilabel data: sigmoid, each class for itself."""
_INSTEAD = {"ce": "bce", "bce": "ce"}  # what does the same work for the other task


def usual(task: Task) -> str:
    """The loss a training takes where nobody names one."""
    return "bce" if task == "multilabel" else "ce"


def names(task: Task = "multiclass") -> tuple[str, ...]:
    """Every loss name the grammar knows for a task."""
    return tuple(_terms(task))


def link(expression: str) -> Link:
    """What makes probabilities of the logits that a loss of multiclass data trains.

    Raises:
        ConfigError: the expression does not parse, names an unknown loss, or its terms belong to different links.
    """
    return _link([(term.name, _kind(term.name, "multiclass")) for term in parse(expression)])


def needs(expression: str, task: Task = "multiclass") -> frozenset[str]:
    """Names of the Context fields that a loss reads, without building it.

    Raises:
        ConfigError: the expression does not parse, or names an unknown loss.
    """
    return frozenset().union(*(_kind(term.name, task).needs for term in parse(expression)))


def build(
    expression: str,
    num_classes: int,
    ignore_index: int = 255,
    class_weights: Sequence[float] | torch.Tensor | None = None,
    task: Task = "multiclass",
    class_prior: Sequence[float] | torch.Tensor | None = None,
) -> CombinedLoss:
    """Build the loss an expression names.

    Args:
        expression: a weighted sum such as "ce[smoothing=0.1] + 0.5*dice".
        num_classes: K, the channels of the logits.
        ignore_index: label of pixels that count for nothing.
        class_weights: (K,) positive factors, or None for all ones.
        task: of the data; "multilabel" has losses of its own, whose targets are bit fields.
        class_prior: (K,) share of the labelled pixels each class has in the training data, of at least 0, or None where
            nobody counted; read by the terms with `wants_prior`.

    Returns:
        A module: loss(logits (B, K, H, W), target (B, H, W) int64, context=None) -> scalar float32 tensor.

    Raises:
        ConfigError: the expression does not parse, names an unknown loss or parameter, or has no term that learns from
            labels or a teacher; its terms belong to different links; a term wants the prior and there is none.
    """
    weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
    if weights is not None and (weights.shape != (num_classes,) or not bool((weights > 0).all())):
        raise ConfigError(f"{num_classes} class weights above 0", f"{weights.tolist()}")
    prior = None if class_prior is None else torch.as_tensor(class_prior, dtype=torch.float32)
    if prior is not None and (prior.shape != (num_classes,) or bool((prior < 0).any()) or not bool(prior.sum() > 0)):
        raise ConfigError(f"a class prior of {num_classes} shares of at least 0, not all 0", f"{prior.tolist()}")
    terms = [(term, _construct(term, num_classes, ignore_index, weights, task, prior)) for term in parse(expression)]
    _link([(term.name, type(loss)) for term, loss in terms])
    if not any(loss.supervised for _, loss in terms):
        raise ConfigError(
            "a loss with a term that learns from labels or a teacher",
            f'"{expression}", which is smallest where nothing was learned',
            f'Write for example "{usual(task)} + 0.1*{terms[0][0].name}".',
        )
    return CombinedLoss([(term.name, term.weight, loss) for term, loss in terms])


def _terms(task: Task) -> dict[str, type[Loss]]:
    return SIGMOID_TERMS if task == "multilabel" else TERMS


def _construct(
    term: Term,
    num_classes: int,
    ignore_index: int,
    weights: torch.Tensor | None,
    task: Task,
    prior: torch.Tensor | None,
) -> Loss:
    kind = _kind(term.name, task)
    unknown = set(term.parameters) - set(kind.defaults)
    if unknown:
        name = min(unknown)
        cure = near(name, kind.defaults) if kind.defaults else f"'{term.name}' takes none."
        raise ConfigError(f"a parameter of '{term.name}'", f"'{name}'", cure)
    values: dict[str, Any] = {**kind.defaults, **term.parameters}
    if kind.wants_prior:
        values["class_prior"] = prior
    return kind(num_classes=num_classes, ignore_index=ignore_index, class_weights=weights, **values)


def _kind(name: str, task: Task) -> type[Loss]:
    terms = _terms(task)
    if name not in terms:
        other: Task = "multiclass" if task == "multilabel" else "multilabel"
        if name in _terms(other):
            meant = _INSTEAD.get(name)
            raise ConfigError(
                f"a loss of {task} data: {', '.join(terms)}",
                f"'{name}', which is one of {other} data",
                f"'{meant}' is its like here." if meant else "It has no like here: leave it out.",
            )
        raise ConfigError("the name of a loss", f"'{name}'", near(name, terms))
    return terms[name]


def _link(terms: Sequence[tuple[str, type[Loss]]]) -> Link:
    first: dict[Link, str] = {}
    for name, kind in terms:
        if kind.link is not None:
            first.setdefault(kind.link, name)
    if len(first) > 1:
        raise ConfigError(
            "terms whose probabilities come from the same link",
            " and ".join(f"'{name}' of {one}" for one, name in first.items()),
            "A network is served with one link: leave one of them out.",
        )
    return next(iter(first), "softmax")
