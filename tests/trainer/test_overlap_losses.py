"""What the losses of covered regions say of answers whose sums are known."""

from __future__ import annotations

import math

import pytest
import torch

from segx_core.errors import ConfigError
from segx_trainer import losses

IGNORE = 255


def sure(labels: torch.Tensor, classes: int = 3) -> torch.Tensor:
    """Logits of an answer without doubt."""
    return torch.nn.functional.one_hot(labels, classes).permute(0, 3, 1, 2).double() * 1000


def halves() -> tuple[torch.Tensor, torch.Tensor]:
    """8 pixels of class 0 and 2 of class 1; the answer calls 2 of the first and 1 of the second class 1."""
    target = torch.tensor([[[0] * 8 + [1] * 2]])
    answer = torch.tensor([[[0] * 6 + [1] * 2 + [0, 1]]])
    return sure(answer), target


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("dice", 1 - (12 / 15 + 2 / 5) / 2),
        ("jaccard", 1 - (6 / 9 + 1 / 4) / 2),
        ("tversky[alpha=1,beta=1]", 1 - (6 / 9 + 1 / 4) / 2),
        ("tversky[alpha=0,beta=1]", 1 - (6 / 8 + 1 / 2) / 2),
        ("gdice", 1 - 2 * (6 / 64 + 1 / 4) / (15 / 64 + 5 / 4)),
        ("logcosh_dice", math.log(math.cosh(0.4))),
        ("focal_tversky[alpha=1,beta=1,gamma=2]", (math.sqrt(3 / 9) + math.sqrt(3 / 4)) / 2),
    ],
)
def test_counts_worked_out_by_hand(expression: str, value: float) -> None:
    logits, target = halves()
    assert losses.build(expression, 3, IGNORE)(logits, target).item() == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("expression", ["dice", "gdice", "logcosh_dice", "jaccard", "tversky", "focal_tversky"])
def test_a_right_answer_costs_nothing_and_moves_nothing(expression: str) -> None:
    _, target = halves()
    logits = sure(target).float().requires_grad_()
    loss = losses.build(expression, 3, IGNORE)(logits, target)
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert slope.abs().max().item() == pytest.approx(0.0, abs=1e-6)


def test_tversky_at_its_defaults_is_dice() -> None:
    logits, target = halves()
    logits = logits / 1000
    tversky, dice = (losses.build(name, 3, IGNORE)(logits, target).item() for name in ("tversky", "dice"))
    assert tversky == pytest.approx(dice, rel=1e-12)


def test_generalised_dice_weighs_the_error_of_a_small_class_more() -> None:
    # One class has 1 pixel, the other two million: 1 / area^2 spans 12 orders of magnitude.
    target = torch.zeros((1, 1000, 2000), dtype=torch.int64)
    target[0, 0, 0] = 1
    logits = torch.zeros((1, 2, 1000, 2000))
    logits[:, 0] = 100.0  # all class 0: the single pixel is missed
    assert losses.build("gdice", 2, IGNORE)(logits, target).item() == pytest.approx(1.0, abs=1e-5)


def test_beta_weighs_what_is_missed_and_alpha_what_is_invented() -> None:
    logits, target = halves()
    logits = torch.roll(logits, 1, dims=1)  # class 0 is never said, class 1 said 7 times
    missed = [losses.build(f"tversky[alpha=0.5,beta={beta}]", 3, IGNORE)(logits, target) for beta in (0.5, 5.0)]
    invented = [losses.build(f"tversky[alpha={alpha},beta=0.5]", 3, IGNORE)(logits, target) for alpha in (0.5, 5.0)]
    assert missed[1] > missed[0]
    assert invented[1] > invented[0]


@pytest.mark.parametrize(
    ("expression", "message"),
    [("tversky[alpha=-1]", "alpha"), ("tversky[beta=0]", "beta"), ("focal_tversky[gamma=0]", "gamma")],
)
def test_parameters_without_meaning_are_refused(expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        losses.build(expression, 3, IGNORE)
