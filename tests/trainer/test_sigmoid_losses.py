"""Every loss of multilabel data against a plain float64 NumPy version, and on the edge cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segx_core.errors import ConfigError
from segx_trainer import losses
from segx_trainer.decide import decide, usual_thresholds

K, IGNORE = 3, 8
Array = NDArray[np.float64]


def naive_mean(each: Array, valid: NDArray[np.bool_], w: Array) -> float:
    kept = np.moveaxis(each, 1, -1)[valid]  # (pixels, K)
    return float((kept * w).sum() / (len(kept) * w.sum())) if len(kept) else 0.0


def naive_bce(z: Array, t: Array, valid: NDArray[np.bool_], w: Array, *, pos_weight: float = 1.0) -> float:
    p = 1 / (1 + np.exp(-z))
    return naive_mean(-pos_weight * t * np.log(p) - (1 - t) * np.log(1 - p), valid, w)


def naive_focal(
    z: Array, t: Array, valid: NDArray[np.bool_], w: Array, *, gamma: float = 2.0, alpha: float = 0.25
) -> float:
    p = 1 / (1 + np.exp(-z))
    there, absent = -alpha * (1 - p) ** gamma * np.log(p), -(1 - alpha) * p**gamma * np.log(1 - p)
    return naive_mean(np.where(t == 1, there, absent), valid, w)


def naive_dice(z: Array, t: Array, valid: NDArray[np.bool_], w: Array) -> float:
    p = 1 / (1 + np.exp(-z))
    total = weight = 0.0
    for k in range(K):
        truth, guess = t[:, k][valid], p[:, k][valid]
        if truth.sum():
            total += w[k] * (1 - 2 * (truth * guess).sum() / (truth.sum() + guess.sum()))
            weight += w[k]
    return total / weight if weight else 0.0


NAIVE = {
    "bce": naive_bce,
    "bce[pos_weight=3]": lambda *given: naive_bce(*given, pos_weight=3),
    "focal": naive_focal,
    "focal[gamma=0.5,alpha=0.6]": lambda *given: naive_focal(*given, gamma=0.5, alpha=0.6),
    "dice": naive_dice,
}
EXPRESSIONS = list(NAIVE)


def example(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    y = random.integers(0, 4, (2, 5, 7))  # the last class is absent
    y[random.random(y.shape) < 0.2] = IGNORE
    return torch.from_numpy(random.normal(0, 2, (2, K, 5, 7))), torch.from_numpy(y)


def build(expression: str, weights: list[float] | None = None) -> losses.CombinedLoss:
    return losses.build(expression, K, IGNORE, weights, task="multilabel")


def test_every_name_is_covered_here() -> None:
    assert {expression.partition("[")[0] for expression in NAIVE} == set(losses.names("multilabel")) - {
        "momentum",  # these two look at no answer: the contract of all losses holds them
        "l1_bn",
    }


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 3.0]])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_equals_the_naive_version(expression: str, weights: list[float] | None) -> None:
    z, y = example()
    truth = np.stack([(y.numpy() >> k & 1) for k in range(K)], 1).astype(float)
    expected = NAIVE[expression](z.numpy(), truth, y.numpy() != IGNORE, np.array(weights or [1.0] * K))
    assert build(expression, weights)(z, y).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_gradient_is_right(expression: str) -> None:
    z, y = example()
    loss = build(expression, [1.0, 0.5, 3.0])
    assert torch.autograd.gradcheck(lambda logits: loss(logits, y), (z.requires_grad_(),))


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("sure", [-300.0, 300.0])
def test_gradients_of_very_sure_logits_are_finite(expression: str, sure: float) -> None:
    _, y = example()
    z = torch.full((2, K, 5, 7), sure, requires_grad=True)
    value = build(expression)(z, y)
    value.backward()
    assert z.grad is not None
    assert torch.isfinite(value)
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_ignored_pixels_change_nothing_and_get_no_gradient(expression: str) -> None:
    z, y = example()
    hidden = (y == IGNORE).unsqueeze(1)
    loss = build(expression)
    assert loss(torch.where(hidden, z * -3 + 7, z), y).item() == pytest.approx(loss(z, y).item(), rel=1e-12)
    z.requires_grad_()
    loss(z, y).backward()
    assert z.grad is not None
    assert z.grad.masked_select(hidden).abs().max().item() == 0.0


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_nothing_valid_is_zero_with_zero_gradient(expression: str) -> None:
    z, y = example()
    z.requires_grad_()
    value = build(expression, [1.0, 2.0, 3.0])(z, torch.full_like(y, IGNORE))
    value.backward()
    assert value.item() == 0.0
    assert z.grad is not None
    assert z.grad.abs().max().item() == 0.0


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_reduced_in_float32(expression: str, half: torch.dtype) -> None:
    z, y = example()
    z = z.to(half)
    value = build(expression)(z, y)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(build(expression)(z.double(), y).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("expression", "task", "message"),
    [
        ("ce", "multilabel", "bce, dice, focal.*'ce', which is one of multiclass data.*'bce' is its like"),
        ("bce", "multiclass", "'bce', which is one of multilabel data.*'ce' is its like"),
        ("nacl", "multilabel", "'nacl', which is one of multiclass data.*no like here"),
        ("bec", "multilabel", "Did you mean 'bce'"),
        ("bce[pos_weight=0]", "multilabel", "pos_weight of 'bce' above 0"),
        ("bce[gamma=2]", "multilabel", "a parameter of 'bce'"),
        ("focal[alpha=1]", "multilabel", "alpha between 0 and 1"),
        ("focal[gamma=-1]", "multilabel", "gamma of at least 0"),
    ],
)
def test_what_does_not_fit_is_refused(expression: str, task: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        losses.build(expression, K, IGNORE, task=task)  # type: ignore[arg-type]


def test_soft_targets_and_other_shapes_are_our_own_bugs() -> None:
    z, y = example()
    with pytest.raises(ValueError, match=r"bit fields as int64"):
        build("bce")(z, torch.zeros_like(z))
    with pytest.raises(ValueError, match=r"expected logits"):
        build("bce")(z, y[:1])


def test_a_usual_loss_for_each_task() -> None:
    assert losses.usual("multiclass") in losses.names()
    assert losses.usual("multilabel") in losses.names("multilabel")


def test_decisions_are_the_best_class_or_all_above_their_thresholds() -> None:
    z, _ = example()
    assert torch.equal(decide(z), z.argmax(1))
    p = torch.sigmoid(z)
    thresholds = (0.2, 0.5, 0.9)
    expected = sum((p[:, k] > one).long() << k for k, one in enumerate(thresholds))
    assert torch.equal(decide(z, thresholds), expected)
    assert usual_thresholds("multilabel", 3) == (0.5, 0.5, 0.5)
    assert usual_thresholds("multiclass", 3) == ()
