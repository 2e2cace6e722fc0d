"""The average of weights against a plain loop over numbers, BatchNorm's statistics included."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from segx_trainer.averaging import Average
from segx_trainer.networks import SegmentationNet, build_network


def shaken(network: SegmentationNet, seed: int) -> None:
    """Other weights and statistics in place, as an update leaves them."""
    generator = torch.Generator().manual_seed(seed)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=generator))
        else:
            value.fill_(seed)


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_equals_a_plain_loop_that_forgets_its_beginning_soon(decay: float, make_config: Any) -> None:
    network = build_network(make_config(), 3)
    name = next(key for key in network.state_dict() if key.endswith("running_var"))
    average = Average(network, decay)
    expected = network.state_dict()[name].double().clone()
    for t in range(12):
        shaken(network, t)
        average.update(network)
        d = min(decay, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * network.state_dict()[name].double()
    torch.testing.assert_close(average.network.state_dict()[name].double(), expected, rtol=1e-5, atol=1e-6)
    counts = [value for key, value in average.network.state_dict().items() if key.endswith("num_batches_tracked")]
    assert all(count == 11 for count in counts)


def test_it_is_a_network_of_its_own_that_never_trains(make_config: Any) -> None:
    network = build_network(make_config(), 3).train()
    average = Average(network, 0.9)
    assert network.training
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    before = average.network.head[0].weight.clone()  # type: ignore[index]
    shaken(network, 1)
    assert torch.equal(average.network.head[0].weight, before)  # type: ignore[index]


def test_what_it_saves_it_takes_back(make_config: Any) -> None:
    network = build_network(make_config(), 3)
    first, second = Average(network, 0.9), Average(network, 0.9)
    for seed in range(3):
        shaken(network, seed)
        first.update(network)
    second.load_state_dict(first.state_dict())
    shaken(network, 9)
    for average in (first, second):
        average.update(network)
    for mine, theirs in zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
