"""Class weights and the sampler in a whole run: told, kept, and the same on resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segx_core.datasets import open_dataset
from segx_core.datasets.scan import scan
from segx_core.errors import ConfigError, ModelError
from segx_trainer import balance, checkpoint
from segx_trainer.class_weights import by_rule
from segx_trainer.loading import Plan
from segx_trainer.rare import RarePlan
from segx_trainer.train import resumed_config, train


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path / "cache"))


def test_a_run_without_keeps_no_file(tmp_path: Path, make_config: Any) -> None:
    config = make_config()
    data = open_dataset(config.data)
    assert balance.settle(config, tmp_path, data, settled=False) == balance.Balance()
    assert not (tmp_path / balance.FILE).exists()
    plain = Plan(12, 4, 0)
    assert balance.build_plan(config, data, plain) is plain
    rare = balance.build_plan(make_config(sampler="rare"), data, plain)
    assert isinstance(rare, RarePlan)
    assert (rare.batch_size, rare.steps_per_epoch, rare.seed) == (4, 3, 0)


def test_weights_reach_the_loss_and_the_run(tmp_path: Path, make_config: Any, capsys: Any) -> None:
    config = make_config(class_weights="inverse", loss="ce + dice")
    data = open_dataset(config.data)
    objective = balance.build_objective(config, tmp_path, data, settled=False)
    expected = by_rule("inverse", scan(data, "train"))
    for term in objective.terms:
        np.testing.assert_allclose(term.class_weights, expected, rtol=1e-6)
    named = json.loads((tmp_path / balance.FILE).read_text())
    assert list(named["weights"].values()) == expected.tolist()
    again = balance.build_objective(config, tmp_path, data, settled=True)
    assert all(torch.equal(a.class_weights, b.class_weights) for a, b in zip(objective.terms, again.terms, strict=True))


def test_a_resumed_run_keeps_the_weights_of_a_file_that_changed(tmp_path: Path, make_config: Any) -> None:
    path = tmp_path / "weights.yaml"
    path.write_text("class_2: 5\n")
    config = make_config(class_weights=str(path))
    data = open_dataset(config.data)
    assert balance.settle(config, tmp_path, data, settled=False).weights == (1.0, 1.0, 5.0)
    path.unlink()
    assert balance.settle(config, tmp_path, data, settled=True).weights == (1.0, 1.0, 5.0)
    (tmp_path / balance.FILE).write_text("{}")
    with pytest.raises(ModelError, match=r"class_weights\.json"):
        balance.settle(config, tmp_path, data, settled=True)


def test_the_prior_is_a_distribution_without_zeros(make_config: Any) -> None:
    data = open_dataset(make_config().data)
    seen = scan(data, "train")
    prior = balance.class_prior(seen)
    np.testing.assert_allclose(prior, seen.shares)
    prior = balance.class_prior(type(seen)(5, seen.rows, seen.classes, seen.pixels, seen.places, seen.ignored,
                                           seen.sizes))  # fmt: skip
    assert (prior > 0).all()
    assert prior.sum() == pytest.approx(1)


def test_multilabel_weights_have_a_mean_of_one(tmp_path: Path, make_config: Any, draw_overlapping: Any) -> None:
    config = make_config(data=str(draw_overlapping(tmp_path / "data", 6)), loss="bce + dice", class_weights="effective")
    weights = balance.settle(config, tmp_path, open_dataset(config.data), settled=False).weights
    assert weights is not None
    assert np.mean(weights) == pytest.approx(1)
    objective = balance.build_objective(config, tmp_path, open_dataset(config.data), settled=True)
    assert all(term.class_weights is not None for term in objective.terms)


def test_resume_is_bit_equal_with_weights_and_rare_classes(tmp_path: Path, make_config: Any) -> None:
    config = make_config(epochs=2, class_weights="median", sampler="rare", sampler_temperature=0.1, until=1e-9)
    whole = config.model_copy(update={"until": None})
    train(whole, tmp_path / "whole")
    assert train(config, tmp_path / "parts").ending == "until"
    # As far as the level that stopped it, a run is that of the config without it.
    (tmp_path / "parts" / "config.yaml").write_text((tmp_path / "whole" / "config.yaml").read_text())
    result = train(resumed_config(tmp_path / "parts", {}), tmp_path / "parts", resume=True)
    assert result.ending == "finished"
    one, other = (checkpoint.read(tmp_path / name / "last.pt")["network"] for name in ("whole", "parts"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_what_makes_no_sense_is_refused(tmp_path: Path, make_config: Any) -> None:
    with pytest.raises(ConfigError, match="class weights"):
        train(make_config(class_weights="invers"), tmp_path / "run")
    with pytest.raises(ConfigError, match="sampler"):
        make_config(sampler="rarest")


def test_a_pruned_run_weighs_classes_as_the_one_it_came_from(tiny_data: Path, tmp_path: Path, make_config: Any) -> None:
    weights = tmp_path / "weights.yaml"
    weights.write_text("class_2: 5\n")
    config, data = make_config(class_weights=str(weights)), open_dataset(tiny_data)
    first = balance.settle(config, tmp_path, data, settled=False)
    weights.unlink()
    (tmp_path / "pruned").mkdir()
    balance.inherit(tmp_path, tmp_path / "pruned")
    assert balance.settle(config, tmp_path / "pruned", data, settled=True) == first
    balance.inherit(tmp_path / "pruned", tmp_path / "pruned" / "..")  # over its own: nothing changes
    assert balance.settle(config, tmp_path, data, settled=True) == first
