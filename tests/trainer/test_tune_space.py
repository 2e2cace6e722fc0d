from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segx_core.errors import ConfigError
from segx_trainer.config import build_config
from segx_trainer.tune_space import Choices, Range, default_space, read_space

BASE: dict[str, Any] = {"data": "scenes"}


def test_ranges_and_choices_are_read(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("lr: {low: 1e-4, high: 1e-2, log: true}\nbatch_size: {low: 2, high: 8}\naugment: [none, light]\n")
    space = read_space(str(path), "multiclass", BASE)
    assert space == {
        "lr": Range(1e-4, 1e-2, log=True),
        "batch_size": Range(2, 8),
        "augment": Choices(("none", "light")),
    }
    whole, real = space["batch_size"], space["lr"]
    assert isinstance(whole, Range)
    assert whole.whole
    assert isinstance(real, Range)
    assert not real.whole
    assert real.holds(1e-3)
    assert not real.holds(1.0)
    assert space["augment"].holds("none")
    assert not space["augment"].holds("strong")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrr: [1e-3]", "Did you mean 'lr'"),
        ("epochs: [1, 2]", "comparable"),
        ("lr: {low: 1e-2, high: 1e-4}", "range or a list"),
        ("lr: {low: 0, high: 1e-4, log: true}", "range or a list"),
        ("lr: {low: 1e-4, high: 1e-2, steps: 3}", "range or a list"),
        ("lr: []", "range or a list"),
        ("lr: [-1.0]", "valid 'lr'"),
        ("batch_size: {low: 0, high: 8}", "valid 'batch_size'"),
        ("model: [unet]", "both"),
        ("{}", "at least one key"),
    ],
)
def test_spaces_that_cannot_be_searched(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigError, match=message):
        read_space(str(path), "multiclass", {**BASE, "model": "fpn"})


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_every_value_of_the_default_space_is_one_of_the_config(task: Any) -> None:
    from segx_trainer import losses

    for key, domain in default_space(task).items():
        for value in domain.values if isinstance(domain, Choices) else (domain.low, domain.high):
            assert getattr(build_config({**BASE, key: value}), key) == value
            if key == "loss":
                losses.build(str(value), 3, task=task)
    assert "lr" not in read_space("default", task, {**BASE, "lr": 0.1})
