"""Sums of losses, how they are built and refused; what all losses keep alike is in test_loss_contract.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segx_core.errors import ConfigError
from segx_trainer import losses

K, IGNORE = 4, 255


def example(seed: int = 0, ignored: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (2, K, 5, 7))
    y = rng.integers(0, K - 1, (2, 5, 7))  # class K-1 is absent
    y[rng.random(y.shape) < ignored] = IGNORE
    return torch.from_numpy(z), torch.from_numpy(y)


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


@pytest.mark.parametrize("prior", [[0.5, 0.5], [0.5, 0.5, 0.5, -0.5], [0.0, 0.0, 0.0, 0.0]])
def test_the_class_prior_must_fit(prior: list[float]) -> None:
    with pytest.raises(ConfigError, match="a class prior of 4 shares"):
        losses.build("ce", K, IGNORE, class_prior=prior)


def test_shapes_that_broadcasting_would_hide_are_refused() -> None:
    z, y = example()
    with pytest.raises(ValueError, match="expected logits"):
        losses.build("ce", K, IGNORE)(z, y[:1])
