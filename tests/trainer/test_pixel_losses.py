"""What each per-pixel loss promises beyond the contract: its gradient, its bounds, its limits, what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_core.errors import ConfigError
from segx_trainer import losses
from segx_trainer.losses.links import entmax15, probabilities, sparsemax
from tests.trainer.oracles.pixel import entmax

K, IGNORE = 4, 255


def pixel(sure: float) -> tuple[torch.Tensor, torch.Tensor]:
    """One pixel of class 1, whose softmax gives it the probability `sure` and the others equal shares."""
    rest = (1 - sure) / (K - 1)
    q = torch.tensor([rest, sure, rest, rest], dtype=torch.float64)
    return q.log().view(1, K, 1, 1), torch.ones(1, 1, 1, dtype=torch.int64)


def slope(expression: str, sure: float) -> float:
    """The gradient in the logit of the pixel's class."""
    z, y = pixel(sure)
    z.requires_grad_()
    (found,) = torch.autograd.grad(losses.build(expression, K)(z, y), z)
    return float(found[0, 1, 0, 0])


@pytest.mark.parametrize("sure", [0.001, 0.3, 0.99])
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ce", lambda q: -(1 - q)),
        ("mae", lambda q: -2 * q * (1 - q)),
        ("poly1[epsilon=2]", lambda q: -(1 - q) * (1 + 2 * q)),
        ("gce[q=0.5]", lambda q: -math.sqrt(q) * (1 - q)),
        ("sce[alpha=0,A=-4]", lambda q: -4 * q * (1 - q)),
        ("focal[gamma=0]", lambda q: -(1 - q)),
    ],
)
def test_gradients_are_those_of_the_docstrings(expression: str, expected, sure: float) -> None:
    assert slope(expression, sure) == pytest.approx(expected(sure), rel=1e-9)


def test_mean_absolute_error_stalls_where_cross_entropy_does_not() -> None:
    assert slope("ce", 0.001) == pytest.approx(-0.999)
    assert slope("mae", 0.001) == pytest.approx(-0.002, rel=1e-2)


@pytest.mark.parametrize("expression", ["mae", "mse"])
def test_distances_of_probabilities_lie_between_0_and_2(expression: str) -> None:
    y = torch.zeros(1, 1, 1, dtype=torch.int64)
    for right, wanted in ((True, 0.0), (False, 2.0)):
        z = torch.zeros(1, K, 1, 1)
        z[0, 0 if right else 1] = 100
        assert losses.build(expression, K)(z, y).item() == pytest.approx(wanted, abs=1e-6)


def test_focal_is_cross_entropy_times_doubt() -> None:
    z, y = pixel(0.8)
    assert losses.build("focal[gamma=3]", K)(z, y).item() == pytest.approx(0.2**3 * -math.log(0.8))


def test_ohem_keeps_the_hardest_of_the_whole_batch() -> None:
    z = torch.zeros(2, 2, 1, 4)
    z[0, 1] = torch.tensor([[1.0, 2.0, 3.0, 4.0]])  # the only hard picture
    y = torch.zeros(2, 1, 4, dtype=torch.int64)
    y[1, 0, 3] = IGNORE  # 7 are left, of which a quarter is 2
    hardest = torch.nn.functional.cross_entropy(z[:1, :, :, 2:], y[:1, :, 2:])
    assert losses.build("ohem", 2)(z, y).item() == pytest.approx(hardest.item(), rel=1e-6)


def test_logit_adjustment_makes_up_for_the_shares_alone() -> None:
    z = torch.log(torch.tensor([0.9, 0.1])).view(1, 2, 1, 1).requires_grad_()
    y = torch.tensor([[[0, 1]]])
    loss = losses.build("logit_adjust", 2, class_prior=[90, 10])  # shares need not sum to 1
    flat = torch.zeros(1, 2, 1, 2)
    assert loss(flat, y).item() == pytest.approx(-(math.log(0.9) + math.log(0.1)) / 2, rel=1e-6)
    assert losses.build("logit_adjust[tau=0]", 2, class_prior=[90, 10])(flat, y).item() == pytest.approx(math.log(2))
    absent = losses.build("logit_adjust", 2, class_prior=[1, 0])
    assert torch.isfinite(absent(z.expand(1, 2, 1, 2), y))


def test_calibration_holds_logits_at_the_shares_of_the_neighbours() -> None:
    y = torch.zeros(1, 3, 3, dtype=torch.int64)
    y[0, :, 2] = 1
    y[0, 0, 0] = IGNORE
    shares = torch.zeros(1, 2, 3, 3)
    shares[0, 1] = torch.tensor([[0, 2 / 5, 1 / 2], [0, 3 / 8, 1 / 2], [0, 1 / 3, 1 / 2]])
    shares[0, 0] = 1 - shares[0, 1]
    extra = losses.build("nacl[weight=1]", 2)(shares, y) - losses.build("ce", 2)(shares, y)
    assert extra.item() == pytest.approx(0.0, abs=1e-6)


def test_entropy_sharpens_and_is_largest_at_equal_shares() -> None:
    y = torch.zeros(1, 1, 1, dtype=torch.int64)
    loss = losses.build("ce + entropy", K)
    loss(torch.zeros(1, K, 1, 1), y)
    assert loss.values["entropy"].item() == pytest.approx(math.log(K))


def test_a_sum_that_learns_from_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"labels or a teacher.*entropy.*smallest where nothing.*ce \+ 0\.1\*entropy"):
        losses.build("0.3*entropy", K)
    losses.build("dice + 0.05*entropy", K)


@pytest.mark.parametrize(("name", "reach"), [("sparsemax", 1.0), ("entmax15", 2.0)])
def test_sparse_losses_are_0_beyond_a_margin(name: str, reach: float) -> None:
    y = torch.ones(1, 1, 1, dtype=torch.int64)
    z = torch.tensor([0.3, reach + 0.3, -2.0, -0.1], dtype=torch.float64).view(1, K, 1, 1)
    loss = losses.build(name, K)
    assert loss(z, y).item() == pytest.approx(0.0, abs=1e-12)
    assert loss(z - 0.1 * torch.nn.functional.one_hot(y, K).permute(0, 3, 1, 2), y).item() > 1e-6


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.floats(-30, 30), min_size=1, max_size=9), st.floats(-1e3, 1e3))
def test_sparse_links_are_the_maxima_they_are_defined_as(values: list[float], shift: float) -> None:
    z = torch.tensor(values, dtype=torch.float64).view(1, -1, 1)
    for link, alpha in ((sparsemax, 2.0), (entmax15, 1.5)):
        np.testing.assert_allclose(link(z)[0, :, 0].numpy(), entmax(np.array(values), alpha), atol=1e-7)
        assert link(z).sum().item() == pytest.approx(1.0, abs=1e-9)
        torch.testing.assert_close(link(z + shift), link(z), atol=1e-6, rtol=0)


def test_links_by_name() -> None:
    z = torch.tensor([[3.0, 1.0, -1.0]]).view(1, 3, 1, 1)
    assert probabilities("sparsemax", z).flatten().tolist() == [1.0, 0.0, 0.0]
    assert probabilities("softmax", z).equal(z.softmax(1))
    assert 0 < probabilities("entmax15", z / 2)[0, 1].item() < probabilities("softmax", z / 2)[0, 1].item()


@pytest.mark.parametrize(
    ("expression", "link"),
    [
        ("ce + 0.5*dice", "softmax"),
        ("sparsemax", "sparsemax"),
        ("entmax15 + 0.5*entmax15", "entmax15"),
        ("kd", "softmax"),
        ("sparsemax + kd", "sparsemax"),
    ],
)
def test_the_link_of_an_expression(expression: str, link: str) -> None:
    assert losses.link(expression) == link


@pytest.mark.parametrize("expression", ["sparsemax + 0.5*dice", "entmax15 + sparsemax", "ce + entmax15"])
def test_two_links_in_one_sum_are_refused(expression: str) -> None:
    for refuse in (losses.link, lambda text: losses.build(text, K)):
        with pytest.raises(ConfigError, match=r"same link.*' of .* and '.*leave one of them out"):
            refuse(expression)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("focal[gamma=-1]", "gamma of 'focal'"),
        ("poly1[epsilon=-2]", "epsilon of 'poly1'"),
        ("ohem[keep=0]", "keep of 'ohem'"),
        ("ohem[keep=1.5]", "keep of 'ohem'"),
        ("gce[q=0]", "q of 'gce'"),
        ("gce[q=2]", "q of 'gce'"),
        ("sce[A=1]", "of 'sce'"),
        ("sce[alpha=0,beta=0]", "of 'sce'"),
        ("nacl[size=2]", "of 'nacl'"),
        ("nacl[size=2.5]", "of 'nacl'"),
        ("nacl[weight=-1]", "of 'nacl'"),
        ("logit_adjust[tau=-1]", "tau of 'logit_adjust'"),
        ("logit_adjust", "class_prior for 'logit_adjust'"),
        ("mae[x=1]", "takes none"),
        ("entrpy", "'entropy'"),
    ],
)
def test_what_makes_no_sense_is_refused(expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        losses.build(expression, K)
