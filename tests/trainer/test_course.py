"""What a loss that follows the training asks of the rest of a config, and what of it a whole run keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from segx_core.confusion import miou
from segx_core.datasets import open_dataset
from segx_core.errors import ConfigError
from segx_trainer import checkpoint, losses
from segx_trainer.course import check_course
from segx_trainer.loading import Pictures
from segx_trainer.networks import build_network
from segx_trainer.train import train
from segx_trainer.validate import validate

K = 3


def check(config: Any) -> None:
    check_course(config, losses.build(config.loss, K))


def test_consistency_needs_an_average(make_config: Any) -> None:
    with pytest.raises(ConfigError, match="--set ema"):
        check(make_config(loss="ce + ema_consistency"))
    check(make_config(loss="ce + ema_consistency", ema=0.99))


@pytest.mark.parametrize("expression", ["ce + 2*momentum[mu=0.5]", "ce + momentum[mu=0.6] + momentum[mu=0.4]"])
def test_momentum_that_never_fades_is_refused(expression: str, make_config: Any) -> None:
    with pytest.raises(ConfigError, match="below 1"):
        check(make_config(loss=expression))


@pytest.mark.parametrize("mu", [-0.1, 1.0])
def test_mu_has_its_range(mu: float) -> None:
    with pytest.raises(ConfigError, match="mu"):
        losses.build(f"ce + momentum[mu={mu}]", K)


@pytest.mark.parametrize("rampup", [-0.1, 1.1])
def test_rampup_has_its_range(rampup: float) -> None:
    with pytest.raises(ConfigError, match="rampup"):
        losses.build(f"ce + ema_consistency[rampup={rampup}]", K)


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"optimizer": "sgd", "momentum": 0}, ""),
        ({"optimizer": "sgd"}, "--set momentum=0"),
        ({"optimizer": "adamw"}, "--optimizer sgd"),
        ({"optimizer": "adam", "momentum": 0}, "--optimizer sgd"),
    ],
)
def test_two_momenta_are_warned_of(
    settings: dict[str, Any], warned: str, make_config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    check(make_config(loss="ce + momentum", **settings))
    said = "".join(capsys.readouterr())
    assert (warned in said) if warned else not said
    check(make_config(loss="ce", **settings))
    assert "momentum" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("name", ["momentum", "l1_bn", "ema_consistency", "aux"])
def test_none_of_them_can_stand_alone_nor_without_its_context(name: str) -> None:
    with pytest.raises(ConfigError, match="learns from labels"):
        losses.build(name, K)
    target = torch.zeros((1, 2, 2), dtype=torch.int64)
    with pytest.raises(ConfigError, match="context"):
        losses.build(f"ce + {name}", K)(torch.zeros(1, K, 2, 2), target, losses.Context())
    short = losses.build(f"ce + {name}", K).without_course()
    assert short.labels == (("ce", "l1_bn") if name == "l1_bn" else ("ce",))


def test_l1_bn_pulls_every_scale_towards_zero_and_refuses_a_network_without_any(make_config: Any) -> None:
    network = build_network(make_config(), K)
    term = losses.build("ce + l1_bn", K).terms[1]
    example = torch.zeros(1, K, 2, 2), torch.zeros((1, 2, 2), dtype=torch.int64)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    norms[0].weight.data[:3] = torch.tensor([-2.0, 0.0, 0.5])
    torch.autograd.backward(term(*example, losses.Context(network=network)))
    assert norms[0].weight.grad is not None
    assert norms[0].weight.grad[:3].tolist() == [-1.0, 0.0, 1.0]
    assert {name for name, one in network.named_parameters() if one.grad is not None} == {
        f"{name}.weight" for name, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)
    }
    with pytest.raises(ConfigError, match="BatchNorms"):
        term(*example, losses.Context(network=torch.nn.Conv2d(3, K, 1)))


def test_a_run_is_judged_and_exported_by_its_average(tmp_path: Path, tiny_data: Path, make_config: Any) -> None:
    config = make_config(
        loss="ce + 0.1*ema_consistency + momentum[mu=0.5] + 1e-5*l1_bn", ema=0.9, accumulate=3, epochs=6,
        augment="none", optimizer="sgd", momentum=0, lr=0.05, validate_every=6,
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    assert result.step == 6  # 12 pictures in 3 batches of 4 are one update
    last, best = (checkpoint.read(tmp_path / "run" / name) for name in ("last.pt", "checkpoint.pt"))
    for name, value in best["network"].items():
        assert torch.equal(value, last["average"]["network"][name])
    assert any(not torch.equal(value, last["network"][name]) for name, value in best["network"].items())
    data = open_dataset(tiny_data)
    pictures = Pictures(data, data.split("val"), "auto", "val")
    loaded = checkpoint.load_run(tmp_path / "run")
    assert miou(validate(loaded.network, pictures, torch.device("cpu"), 1)) == pytest.approx(result.miou, abs=1e-12)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    trained = [record for record in records if record["kind"] == "train"]
    for record in trained:
        terms = record["terms"]
        assert record["loss"] == pytest.approx(terms["ce"] + 0.1 * terms["ema_consistency"] + 1e-5 * terms["l1_bn"])
        assert record["skipped"] == 0
    assert trained[-1]["terms"]["momentum"] != 0


def test_a_split_smaller_than_an_update_is_one_update(tmp_path: Path, make_config: Any) -> None:
    assert train(make_config(accumulate=9, epochs=1), tmp_path / "run").step == 1
