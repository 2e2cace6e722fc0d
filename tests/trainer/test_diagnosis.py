"""A training whose numbers leave the finite: what is named, and what is on the disk afterwards."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from segx_core.errors import ModelError
from segx_trainer import checkpoint
from segx_trainer.diagnosis import broken_weights, first_broken
from segx_trainer.train import train
from segx_trainer.update import Taken
from segx_trainer.window import Window


def test_the_first_thing_that_is_not_finite_is_named() -> None:
    assert first_broken(1.0, {"ce": 1.0}, 5.0, 2.0) is None
    assert first_broken(math.nan, {"ce": math.nan}, math.inf, math.nan) == "the logits (inf)"
    named = first_broken(math.nan, {"ce": 1.0, "dice": math.nan}, 5.0, math.nan)
    assert named == "the term dice (nan), of finite logits"
    assert "sum of finite terms" in str(first_broken(math.inf, {"ce": 3e38, "dice": 3e38}, 5.0, math.nan))
    assert "gradient (norm nan before" in str(first_broken(1.0, {"ce": 1.0}, 5.0, math.nan))


def test_broken_weights_and_statistics_are_found() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    assert broken_weights(network) is None
    with torch.no_grad():
        network[0].weight.fill_(3e38)  # as large as finite numbers get
    assert broken_weights(network) is None
    network[1].running_var.fill_(math.inf)
    assert broken_weights(network) == "the weights 1.running_var"


def test_a_window_tells_which_of_its_steps_broke() -> None:
    window = Window()
    for norm in (1.0, math.inf, math.nan):
        one = torch.tensor(1.0)
        window.add(2, Taken(one, {"ce": one}, one, torch.tensor(norm)))
    found = window.broken()
    assert found is not None
    assert found[0] == 1
    assert "norm inf" in found[1]


def _finite(path: Path) -> bool:
    content = checkpoint.read(path)
    return all(bool(torch.isfinite(value).all()) for value in content["network"].values() if value.is_floating_point())


@pytest.mark.parametrize("change", [{"optimizer": "sgd", "clip": 0}, {"weight_decay": 0.5}, {"ema": 0.9}])
def test_nothing_broken_is_written(tmp_path: Path, make_config: Any, change: dict[str, Any]) -> None:
    config = make_config(lr=1e30, warmup=0, epochs=8, augment="none", save_every=1, **change)
    with pytest.raises(ModelError, match=r"finite training loss.*at step \d.*learning rate was"):
        train(config, tmp_path)
    for name in ("last.pt", "checkpoint.pt"):
        assert not (tmp_path / name).exists() or _finite(tmp_path / name)


def test_a_rate_beyond_float32_breaks_the_weights_and_they_are_not_written(tmp_path: Path, make_config: Any) -> None:
    with pytest.raises(ModelError, match="at step 1, first of all, the weights "):
        train(make_config(lr=1e39, warmup=0, save_every=1, augment="none"), tmp_path)
    assert not (tmp_path / "last.pt").exists()


class _Steep(torch.autograd.Function):
    """The identity, with a gradient that is not finite: what 0 * inf inside a loss gives."""

    @staticmethod
    def forward(context: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * math.nan


def test_a_broken_gradient_of_a_finite_loss_leaves_the_weights(make_config: Any) -> None:
    from segx_trainer import losses
    from segx_trainer.device import choose
    from segx_trainer.networks import build_network
    from segx_trainer.state import begin
    from segx_trainer.update import update

    config = make_config()
    torch.manual_seed(0)
    network = build_network(config, 3)
    objective, arithmetic = losses.build("ce", 3, 255), choose("cpu", "fp32")
    state = begin(network, config, objective, arithmetic)
    before = [value.detach().clone() for value in network.parameters()]
    images, targets = torch.zeros((2, 3, 32, 64), dtype=torch.uint8), torch.zeros((2, 32, 64), dtype=torch.int64)

    def forward(network: Any, auxiliary: Any, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _Steep.apply(network(images)), None

    taken = update(state, objective, arithmetic, images, targets, clip=5.0, forward=forward)
    assert "the gradient (norm nan" in str(taken.broken)
    assert state.step == 0
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    assert update(state, objective, arithmetic, images, targets, clip=5.0).broken is None
