"""Every loss against a plain float64 NumPy version, and on the edge cases that break losses elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segx_core.errors import ConfigError
from segx_trainer import losses

K, IGNORE = 4, 255
Array = NDArray[np.float64]


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def naive_ce(z: Array, y: NDArray[np.int64], w: Array, smoothing: float) -> float:
    q = softmax(z)
    total = weight = 0.0
    for b, r, c in np.ndindex(y.shape):
        if y[b, r, c] == IGNORE:
            continue
        log_q = np.log(q[b, :, r, c])
        hard = -w[y[b, r, c]] * log_q[y[b, r, c]]
        uniform = -(w * log_q).sum() / K
        total += (1 - smoothing) * hard + smoothing * uniform
        weight += w[y[b, r, c]]
    return total / weight if weight else 0.0


def naive_dice(z: Array, y: NDArray[np.int64], w: Array, _: float) -> float:
    q = softmax(z)
    total = weight = 0.0
    for k in range(K):
        overlap = guessed = true = 0.0
        for b, r, c in np.ndindex(y.shape):
            if y[b, r, c] != IGNORE:
                guessed += q[b, k, r, c]
                true += y[b, r, c] == k
                overlap += q[b, k, r, c] * (y[b, r, c] == k)
        if true:
            total += w[k] * (1 - 2 * overlap / (guessed + true))
            weight += w[k]
    return total / weight if weight else 0.0


NAIVE = {"ce": naive_ce, "ce[smoothing=0.2]": naive_ce, "dice": naive_dice}
EXPRESSIONS = list(NAIVE)


def example(seed: int = 0, ignored: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (2, K, 5, 7))
    y = rng.integers(0, K - 1, (2, 5, 7))  # class K-1 is absent
    y[rng.random(y.shape) < ignored] = IGNORE
    return torch.from_numpy(z), torch.from_numpy(y)


def test_every_name_is_covered_here() -> None:
    here = {expression.partition("[")[0] for expression in NAIVE}
    assert here | {"kd", "cwd"} == set(losses.names())  # those two are in test_distillation.py


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 3.0, 2.0]])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_equals_the_naive_version(expression: str, weights: list[float] | None) -> None:
    z, y = example()
    smoothing = 0.2 if "smoothing" in expression else 0.0
    expected = NAIVE[expression](z.numpy(), y.numpy(), np.array(weights or [1.0] * K), smoothing)
    found = losses.build(expression, K, IGNORE, weights)(z, y)
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_gradient_is_right(expression: str) -> None:
    z, y = example()
    loss = losses.build(expression, K, IGNORE, [1.0, 0.5, 3.0, 2.0])
    assert torch.autograd.gradcheck(lambda logits: loss(logits, y), (z.requires_grad_(),))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_ignored_pixels_change_nothing_and_get_no_gradient(expression: str) -> None:
    z, y = example(ignored=0.5)
    loss = losses.build(expression, K, IGNORE)
    hidden = (y == IGNORE).unsqueeze(1)
    other = torch.where(hidden, z * -3 + 7, z)
    assert loss(other, y).item() == pytest.approx(loss(z, y).item(), rel=1e-12)
    z.requires_grad_()
    loss(z, y).backward()
    assert z.grad is not None
    assert z.grad.masked_select(hidden).abs().max().item() == 0.0


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_nothing_valid_is_zero_with_zero_gradient(expression: str) -> None:
    z, y = example()
    z.requires_grad_()
    value = losses.build(expression, K, IGNORE, [1.0, 2.0, 3.0, 4.0])(z, torch.full_like(y, IGNORE))
    value.backward()
    assert value.item() == 0.0
    assert z.grad is not None
    assert z.grad.abs().max().item() == 0.0


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_soft_labels_that_are_hard_give_the_same(expression: str) -> None:
    z, y = example()
    valid = y != IGNORE
    soft = torch.nn.functional.one_hot(y.masked_fill(~valid, 0), K).permute(0, 3, 1, 2).double() * valid.unsqueeze(1)
    loss = losses.build(expression, K, IGNORE, [1.0, 0.5, 3.0, 2.0])
    assert loss(z, soft).item() == pytest.approx(loss(z, y).item(), rel=1e-9)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_shifting_all_logits_changes_nothing(expression: str) -> None:
    z, y = example()
    loss = losses.build(expression, K, IGNORE)
    assert loss(z + 5, y).item() == pytest.approx(loss(z, y).item(), rel=1e-9)


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_reduced_in_float32(expression: str, half: torch.dtype) -> None:
    z, y = example()
    z = z.to(half)
    loss = losses.build(expression, K, IGNORE)
    assert loss(z, y).dtype == torch.float32
    assert loss(z, y).item() == pytest.approx(loss(z.double(), y).item(), rel=1e-5)


def test_cross_entropy_is_torchs_own() -> None:
    z, y = example()
    weights = torch.tensor([1.0, 0.5, 3.0, 2.0], dtype=torch.float64)
    torchs = torch.nn.functional.cross_entropy(z, y, weights, ignore_index=IGNORE)
    assert losses.build("ce", K, IGNORE, weights)(z, y).item() == pytest.approx(torchs.item(), rel=1e-7)


def test_a_right_answer_without_some_classes_costs_nothing() -> None:
    y = torch.zeros((1, 4, 4), dtype=torch.int64)
    z = torch.nn.functional.one_hot(y, K).permute(0, 3, 1, 2).float() * 100
    assert losses.build("dice", K, IGNORE)(z, y).item() == pytest.approx(0.0, abs=1e-6)


def test_a_missed_small_class_costs_as_much_as_a_large_one() -> None:
    y = torch.zeros((1, 10, 10), dtype=torch.int64)
    y[0, 0, 0] = 1
    z = torch.zeros((1, K, 10, 10))
    z[:, 0] = 100.0
    assert losses.build("dice", K, IGNORE)(z, y).item() == pytest.approx(0.5, abs=0.01)


def test_a_sum_is_the_sum_of_its_terms_and_keeps_each() -> None:
    z, y = example()
    loss = losses.build("ce + 0.5*dice", K, IGNORE)
    ce, dice = losses.build("ce", K, IGNORE)(z, y), losses.build("dice", K, IGNORE)(z, y)
    assert loss(z, y).item() == pytest.approx((ce + 0.5 * dice).item())
    assert {name: value.item() for name, value in loss.values.items()} == pytest.approx(
        {"ce": ce.item(), "dice": dice.item()}
    )


def test_a_term_that_stands_twice_is_logged_twice() -> None:
    z, y = example()
    loss = losses.build("ce + dice + ce[smoothing=0.2]", K, IGNORE)
    loss(z, y)
    assert list(loss.values) == ["ce", "dice", "ce_2"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("cee", "'ce'"),
        ("dise", "'dice'"),
        ("ce[smooth=1]", "'smoothing'"),
        ("dice[x=1]", "takes none"),
        ("ce[smoothing=1]", "smoothing"),
    ],
)
def test_unknown_names_answer_with_the_near_one(expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        losses.build(expression, K)


@pytest.mark.parametrize("weights", [[1.0, 2.0], [1.0, 1.0, 0.0, 1.0]])
def test_class_weights_must_fit(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="class weights"):
        losses.build("ce", K, IGNORE, weights)


def test_shapes_that_broadcasting_would_hide_are_refused() -> None:
    z, y = example()
    with pytest.raises(ValueError, match="expected logits"):
        losses.build("ce", K, IGNORE)(z, y[:1])
