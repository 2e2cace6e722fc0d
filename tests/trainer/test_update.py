"""One update: what it equals, what a step that float16 skips leaves alone, and when it gives up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from segx_core.errors import ModelError
from segx_trainer import losses
from segx_trainer.device import Arithmetic
from segx_trainer.networks import build_network
from segx_trainer.state import State, begin
from segx_trainer.update import set_rate, update

CPU = Arithmetic(torch.device("cpu"), None)
K = 3


def started(config: Any, expression: str = "ce") -> tuple[State, losses.CombinedLoss]:
    torch.manual_seed(0)
    network = build_network(config, K).double().train()  # in float32 a small network in training is chaotic
    objective = losses.build(expression, K)
    return begin(network, config, objective, CPU), objective


def batch(seed: int, pictures: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (pictures, 3, 32, 64), generator=generator, dtype=torch.uint8)
    return images, torch.randint(0, K, (pictures, 32, 64), generator=generator)


def run(state: State, objective: losses.CombinedLoss, steps: range, parts: int = 1, clip: float = 0.5) -> list[float]:
    seen = []
    for step in steps:
        set_rate(state.optimizer, 0.01 if step < 15 else 0.005)
        torch.manual_seed(step)  # of dropout
        taken = update(state, objective, CPU, *batch(step, 2 * parts), parts=parts, clip=clip, total=30)
        seen.append(taken.loss.item())
    return seen


def largest_gap(one: State, other: State) -> float:
    pairs = zip(one.network.parameters(), other.network.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def scaled(state: State) -> State:
    """With a real scaler, as on a GPU in float16."""
    state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    return state


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_the_momentum_loss_with_plain_sgd_is_sgd_with_momentum(parts: int, decay: float, make_config: Any) -> None:
    common = {"optimizer": "sgd", "weight_decay": decay}
    ours, with_term = started(make_config(momentum=0, **common), "ce + momentum[mu=0.9]")
    torchs, plain = started(make_config(momentum=0, **common))
    torchs.optimizer = torch.optim.SGD(
        [{key: group[key] for key in ("params", "weight_decay", "factor")} for group in torchs.optimizer.param_groups],
        lr=0.05,
        momentum=0.9,
    )
    initial = copy.deepcopy(ours.network.state_dict())
    first, second = (run(*each, range(30), parts) for each in ((ours, with_term), (torchs, plain)))
    assert largest_gap(ours, torchs) < 1e-6
    # The term is below 0 by far more than this, and stays out of what is logged as the loss.
    assert first == pytest.approx(second, rel=1e-4)
    assert any(not torch.equal(value, initial[name]) for name, value in ours.network.named_parameters())


def test_half_of_twice_the_momentum_is_the_same(make_config: Any) -> None:
    config = make_config(optimizer="sgd", momentum=0)
    one, other = started(config, "ce + momentum[mu=0.4]"), started(config, "ce + 0.5*momentum[mu=0.8]")
    run(*one, range(4))
    run(*other, range(4))
    assert largest_gap(one[0], other[0]) < 1e-7


def test_momentum_is_logged_as_a_term_of_its_own(make_config: Any) -> None:
    state, objective = started(make_config(optimizer="sgd", momentum=0), "ce + momentum")
    first = update(state, objective, CPU, *batch(0))
    assert first.terms["momentum"].item() == 0.0  # no gradient before the first
    assert state.velocity is not None
    expected = 0.9 * sum((theta.detach().double() * v.double()).sum().item() for theta, v in state.velocity.pairs)
    second = update(state, objective, CPU, *batch(1))
    assert second.terms["momentum"].item() == pytest.approx(expected, rel=1e-4)
    assert second.loss.item() == second.terms["ce"].item()


@pytest.mark.parametrize("parts", [2, 4])
def test_the_gradient_is_the_mean_over_the_batches(parts: int, make_config: Any) -> None:
    state, objective = started(make_config(optimizer="sgd", momentum=0, weight_decay=0, dropout=0.0))
    images, targets = batch(3, 8)
    targets[:4].masked_fill_(targets[:4] == 1, 255)  # other numbers of valid pixels in the batches
    wanted = [torch.zeros_like(parameter) for parameter in state.network.parameters()]
    twin = copy.deepcopy(state.network)
    for image, target in zip(images.split(8 // parts), targets.split(8 // parts), strict=True):
        loss = objective(twin(image), target)
        for total, gradient in zip(wanted, torch.autograd.grad(loss, list(twin.parameters())), strict=True):
            total += gradient / parts
    taken = update(state, objective, CPU, images, targets, parts=parts)
    for parameter, gradient in zip(state.network.parameters(), wanted, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
    assert state.step == 1
    assert taken.loss.item() == pytest.approx(taken.terms["ce"].item(), rel=1e-6)


def test_one_batch_is_bit_for_bit_a_plain_step(make_config: Any) -> None:
    config = make_config(dropout=0.0)
    state, objective = started(config)
    other, _ = started(config)
    for step in range(3):
        update(state, objective, CPU, *batch(step), clip=1.0)
        other.optimizer.zero_grad()
        images, targets = batch(step)
        torch.autograd.backward(objective(other.network(images.to(memory_format=torch.channels_last)), targets))
        torch.nn.utils.clip_grad_norm_(other.network.parameters(), 1.0)
        other.optimizer.step()
    assert largest_gap(state, other) == 0.0


def overflow(state: State) -> Any:
    """Make the next gradient of one weight infinite, as an overflow of float16 does."""
    parameter = next(state.network.parameters())
    return parameter.register_hook(lambda gradient: gradient * float("inf"))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_skipped_step_moves_nothing_and_is_counted(optimizer: str, make_config: Any) -> None:
    state, objective = started(make_config(optimizer=optimizer, momentum=0, ema=0.99), "ce + momentum[mu=0.5]")
    scaled(state)
    run(state, objective, range(3))
    assert state.average is not None
    assert state.velocity is not None
    before = copy.deepcopy(
        ([*state.network.parameters()], [*state.average.network.parameters()], state.velocity.state_dict())
    )
    updates, scale = state.average.updates, state.scaler.get_scale()
    hook = overflow(state)
    run(state, objective, range(3, 5))
    hook.remove()
    after = ([*state.network.parameters()], [*state.average.network.parameters()], state.velocity.state_dict())
    for old, new in zip(before, after, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(old, new, strict=True))
    assert (state.step, state.skipped, state.skipped_in_a_row) == (5, 2, 2)
    assert (state.average.updates, state.scaler.get_scale()) == (updates, scale / 4)
    run(state, objective, range(5, 6))
    assert (state.skipped, state.skipped_in_a_row, state.average.updates) == (2, 0, updates + 1)


def test_momentum_after_a_skipped_step_is_as_if_it_had_not_been(make_config: Any) -> None:
    config = make_config(optimizer="sgd", momentum=0, weight_decay=0.01)
    with_gap, without = (started(config, "ce + momentum[mu=0.9]") for _ in range(2))
    scaled(with_gap[0])
    run(*with_gap, range(4))
    twin = copy.deepcopy(with_gap[0].network.state_dict())
    hook = overflow(with_gap[0])
    run(*with_gap, range(4, 5))
    hook.remove()
    # BatchNorm saw the picture of the skipped step; weights did not.
    with_gap[0].network.load_state_dict(twin)
    run(*with_gap, range(4, 8))
    run(*without, range(8))
    assert largest_gap(with_gap[0], without[0]) < 1e-6


def test_steps_that_are_skipped_for_ever_end_with_a_diagnosis(make_config: Any) -> None:
    state, objective = started(make_config())
    scaled(state)
    overflow(state)
    with pytest.raises(ModelError, match="32 updates in a row") as raised:
        run(state, objective, range(40))
    assert "bf16" in str(raised.value)
    assert state.step == 32


def test_the_average_answers_where_a_term_asks(make_config: Any) -> None:
    state, objective = started(make_config(ema=0.9), "ce + ema_consistency[rampup=0]")
    taken = update(state, objective, CPU, *batch(0), total=10)
    assert state.average is not None
    assert 0 < taken.terms["ema_consistency"].item() < 2
    state.average.network.head[0].bias.data.fill_(float("nan"))  # type: ignore[index]
    assert torch.isnan(update(state, objective, CPU, *batch(0), total=10).loss)
