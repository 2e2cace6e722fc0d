"""The contract that every loss of multiclass data keeps, whichever names the grammar knows.

The naive versions lie in oracles/, a file for each group of losses: its `ORACLES` maps a name to its naive version,
`VARIANTS` (optional) a name to more expressions to check, `EXCEPTIONS` (optional) a name to the properties below that
do not hold for it, each with the reason. What a loss needs of its context comes from `Sample`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segx_trainer import losses
from segx_trainer.losses.grammar import parse

K, IGNORE = 4, 255
WEIGHTS = (1.0, 0.5, 3.0, 2.0)
PRIOR = (0.4, 0.3, 0.2, 0.1)
GROUPS = [
    importlib.import_module(f"tests.trainer.oracles.{path.stem}")
    for path in sorted((Path(__file__).parent / "oracles").glob("*.py"))
]
PROPERTIES = {
    "oracle": "equals the naive version",
    "soft": "takes soft targets",
    "gradient": "the gradient is that of finite differences",
    "ignored": "ignored pixels change nothing",
    "nothing": "a batch without valid pixels gives 0 with zero gradient",
    "one class": "all classes but one may be absent",
    "pixels": "the order of pixels changes nothing",
    "shift": "the same added to all classes of a pixel changes nothing",
    "classes": "the order of classes changes nothing",
    "half": "half-precision logits are reduced in float32, under autocast too",
    "extreme": "logits of 10000 give a finite value and gradient",
    "layout": "strides change nothing",
}


def merged(table: str) -> dict[str, Any]:
    return {name: entry for group in GROUPS for name, entry in getattr(group, table, {}).items()}


ORACLES: dict[str, Callable[..., float]] = merged("ORACLES")
VARIANTS: dict[str, tuple[str, ...]] = merged("VARIANTS")
EXCEPTIONS: dict[str, dict[str, str]] = merged("EXCEPTIONS")
EXPRESSIONS = [one for name in losses.names() for one in (name, *VARIANTS.get(name, ()))]


@dataclass(frozen=True)
class Sample:
    """A batch and everything a loss may read beside it."""

    logits: Tensor
    target: Tensor
    teacher_logits: Tensor
    average_logits: Tensor
    aux_logits: Tensor
    network: nn.Module
    weights: tuple[float, ...] = (1.0,) * K
    prior: tuple[float, ...] = PRIOR
    step: int = 3
    progress: float = 0.2

    @property
    def velocity(self) -> list[tuple[Tensor, Tensor]]:
        return [
            (parameter, torch.linspace(-1, 2, parameter.numel()).double().view_as(parameter))
            for parameter in self.network.parameters()
        ]

    @property
    def context(self) -> losses.Context:
        return losses.Context(**{one.name: getattr(self, one.name) for one in fields(losses.Context)})

    def each(self, change: Callable[[Tensor], Tensor]) -> Sample:
        """Another batch in which `change` was done to the logits and to what is shaped like them."""
        names = ("logits", "teacher_logits", "average_logits", "aux_logits")
        return replace(self, **{name: change(getattr(self, name)) for name in names})


def sample(
    seed: int = 0,
    ignored: float = 0.2,
    blobs: tuple[int, int, int] = (2, 3, 4),
    weights: tuple[float, ...] = (1.0,) * K,
) -> Sample:
    """2 pictures of 6x8 in float64: blobs of classes 0 to K-2 and ignored pixels; class K-1 is absent."""
    rng = np.random.default_rng(seed)
    y = np.kron(rng.integers(0, K - 1, blobs), np.ones((2, 2), np.int64))
    y[rng.random(y.shape) < ignored] = IGNORE
    z, *others = (torch.from_numpy(rng.normal(0, 2, (len(y), K, *y.shape[1:]))) for _ in range(4))
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)).double()
    return Sample(z, torch.from_numpy(y), *others, network, weights)


def softened(target: Tensor, seed: int = 1) -> Tensor:
    """(B, K, H, W) distributions near hard labels, zero where ignored."""
    valid = target != IGNORE
    hot = nn.functional.one_hot(target.masked_fill(~valid, 0), K).permute(0, 3, 1, 2).double()
    noise = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(K), tuple(target.shape)))
    return (0.7 * hot + 0.3 * noise.permute(0, 3, 1, 2)) * valid.unsqueeze(1)


def make(expression: str, given: Sample) -> losses.Loss:
    """The one term of the expression, with weights only where the sample has some."""
    weights = None if set(given.weights) == {1.0} else given.weights
    kind = losses.TERMS[expression.partition("[")[0]]
    beside = "" if kind.supervised else "ce + "  # which no sum may be without
    built = losses.build(beside + expression, K, IGNORE, weights, class_prior=given.prior)
    term = built.terms[-1]
    assert isinstance(term, losses.Loss)
    return term


def value(expression: str, given: Sample) -> Tensor:
    return make(expression, given)(given.logits, given.target, given.context)


def expected(expression: str, given: Sample) -> float:
    (term,) = parse(expression)
    rest: dict[str, Any] = dict(term.parameters)
    for need in losses.TERMS[term.name].needs:
        found = getattr(given, need)
        rest[need] = found.numpy() if isinstance(found, Tensor) else found
    if losses.TERMS[term.name].wants_prior:
        rest["class_prior"] = np.array(given.prior)
    weights = np.array(given.weights)
    return ORACLES[term.name](given.logits.numpy(), given.target.numpy(), IGNORE, weights, **rest)


def gradient(expression: str, given: Sample) -> Tensor:
    logits = given.logits.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(value(expression, replace(given, logits=logits)), logits)
    return found


def of(which: str) -> list[str]:
    """The expressions a property holds for."""
    return [one for one in EXPRESSIONS if which not in EXCEPTIONS.get(one.partition("[")[0], {})]


def test_every_name_has_a_naive_version() -> None:
    assert set(losses.names()) == set(ORACLES)
    assert {one for held in EXCEPTIONS.values() for one in held} <= set(PROPERTIES)
    assert all(reason for held in EXCEPTIONS.values() for reason in held.values())


@pytest.mark.parametrize("weights", [(1.0,) * K, WEIGHTS])
@pytest.mark.parametrize("expression", of("oracle"))
def test_equals_the_naive_version(expression: str, weights: tuple[float, ...]) -> None:
    given = sample(weights=weights)
    assert value(expression, given).item() == pytest.approx(expected(expression, given), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("expression", of("soft"))
def test_soft_targets(expression: str) -> None:
    given = sample(weights=WEIGHTS)
    soft = replace(given, target=softened(given.target))
    assert value(expression, soft).item() == pytest.approx(expected(expression, soft), rel=1e-7, abs=1e-9)
    valid = given.target != IGNORE
    hot = nn.functional.one_hot(given.target.masked_fill(~valid, 0), K).permute(0, 3, 1, 2).double()
    hard = replace(given, target=hot * valid.unsqueeze(1))
    assert value(expression, hard).item() == pytest.approx(value(expression, given).item(), rel=1e-9)


@pytest.mark.parametrize("expression", of("gradient"))
def test_gradient_is_that_of_finite_differences(expression: str) -> None:
    given = sample(weights=WEIGHTS, blobs=(2, 2, 2))
    loss, context = make(expression, given), given.context
    check = torch.autograd.gradcheck(
        lambda logits: loss(logits, given.target, context), (given.logits.requires_grad_(),)
    )
    assert check


@pytest.mark.parametrize("expression", of("ignored"))
def test_ignored_pixels_change_nothing_and_get_no_gradient(expression: str) -> None:
    given = sample(ignored=0.5)
    hidden = (given.target == IGNORE).unsqueeze(1)
    other = given.each(lambda one: torch.where(hidden, one * -3 + 7, one))
    assert value(expression, other).item() == pytest.approx(value(expression, given).item(), rel=1e-9)
    assert gradient(expression, given).masked_select(hidden).abs().max().item() == 0.0
    soft = replace(given, target=softened(given.target))
    if "soft" not in EXCEPTIONS.get(expression.partition("[")[0], {}):
        assert gradient(expression, soft).masked_select(hidden).abs().max().item() == 0.0


@pytest.mark.parametrize("weights", [(1.0,) * K, WEIGHTS])
@pytest.mark.parametrize("expression", of("nothing"))
def test_nothing_valid_is_zero_with_zero_gradient(expression: str, weights: tuple[float, ...]) -> None:
    given = sample(ignored=1.1, weights=weights)
    assert value(expression, given).item() == 0.0
    assert gradient(expression, given).abs().max().item() == 0.0


@pytest.mark.parametrize("expression", of("one class"))
def test_all_classes_but_one_may_be_absent(expression: str) -> None:
    given = sample(weights=WEIGHTS)
    given = replace(given, target=given.target.where(given.target == IGNORE, torch.tensor(1)))
    found = value(expression, given)
    assert torch.isfinite(found)
    assert torch.isfinite(gradient(expression, given)).all()
    if expression in of("oracle"):
        assert found.item() == pytest.approx(expected(expression, given), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("expression", of("pixels"))
def test_the_order_of_pixels_changes_nothing(expression: str) -> None:
    given = sample(weights=WEIGHTS)
    order = torch.from_numpy(np.random.default_rng(2).permutation(6 * 8))

    def shuffled(one: Tensor) -> Tensor:
        return one.flatten(-2)[..., order].reshape(one.shape)

    other = replace(given.each(shuffled), target=shuffled(given.target))
    assert value(expression, other).item() == pytest.approx(value(expression, given).item(), rel=1e-9)


@pytest.mark.parametrize("expression", of("shift"))
def test_the_same_added_to_all_classes_changes_nothing(expression: str) -> None:
    given = sample()
    more = torch.from_numpy(np.random.default_rng(2).normal(5, 3, (2, 1, 6, 8)))
    assert value(expression, replace(given, logits=given.logits + more)).item() == pytest.approx(
        value(expression, given).item(), rel=1e-9
    )


@pytest.mark.parametrize("expression", of("classes"))
def test_the_order_of_classes_changes_nothing(expression: str) -> None:
    given = sample(weights=WEIGHTS)
    order = (2, 0, 3, 1)  # class k becomes order.index(k)
    place = torch.tensor([order.index(k) for k in range(K)])
    valid = given.target != IGNORE
    renamed = place[given.target.masked_fill(~valid, 0)].where(valid, torch.tensor(IGNORE))
    weights, prior = (tuple(values[k] for k in order) for values in (given.weights, given.prior))
    other = replace(given.each(lambda one: one[:, list(order)]), target=renamed, weights=weights, prior=prior)
    assert value(expression, other).item() == pytest.approx(value(expression, given).item(), rel=1e-9)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("expression", of("half"))
def test_half_precision_logits_are_reduced_in_float32(expression: str, half: torch.dtype) -> None:
    given = sample(weights=WEIGHTS).each(lambda one: one.to(half))
    with torch.autocast("cpu", dtype=half):
        found = value(expression, given)
    assert found.dtype == torch.float32
    exact = value(expression, given.each(Tensor.double))
    assert found.item() == pytest.approx(exact.item(), rel=2e-5)
    slope = gradient(expression, given)
    assert torch.isfinite(slope).all()
    wanted = gradient(expression, given.each(Tensor.double))
    torch.testing.assert_close(slope.double(), wanted, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("expression", of("extreme"))
def test_very_large_logits_are_finite(expression: str) -> None:
    given = sample(weights=WEIGHTS)
    given = replace(given, logits=torch.where(given.logits > 0, 1e4, -1e4).float())
    assert torch.isfinite(value(expression, given))
    assert torch.isfinite(gradient(expression, given)).all()
    sure = nn.functional.one_hot(given.target.masked_fill(given.target == IGNORE, 0), K).permute(0, 3, 1, 2) * 1e4
    given = replace(given, logits=sure.float())
    assert torch.isfinite(value(expression, given))
    assert torch.isfinite(gradient(expression, given)).all()


@pytest.mark.parametrize("expression", of("layout"))
def test_strides_change_nothing(expression: str) -> None:
    given = sample()
    wide = given.target.repeat_interleave(2, dim=-1)[..., ::2]
    turned = given.each(lambda one: one.mT.contiguous().mT)
    last = given.each(lambda one: one.contiguous(memory_format=torch.channels_last))
    wanted, slope = value(expression, given).item(), gradient(expression, given)
    for other in (replace(turned, target=wide), last):
        assert value(expression, other).item() == pytest.approx(wanted, rel=1e-9)
        torch.testing.assert_close(gradient(expression, other), slope)
