from __future__ import annotations

from typing import Any

import pytest
import torch

from segx_core.errors import ConfigError
from segx_trainer.budgets import BUDGETS
from segx_trainer.config import build_config, to_yaml
from segx_trainer.networks import build_network


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_is_kept_and_written_out(name: str) -> None:
    config = build_config({"data": "scenes", "model": f"auto:{name}"})
    with torch.device("meta"):
        network = build_network(config, 19)
    assert sum(p.numel() for p in network.parameters()) / 1e6 <= BUDGETS[name].most_parameters
    text = to_yaml(config)
    assert "auto" not in text.split("amp:")[0]
    assert f"encoder: {BUDGETS[name].encoder}\n" in text
    assert f"decoder_channels: {BUDGETS[name].decoder_channels}\n" in text


def test_the_users_own_choices_win() -> None:
    values: dict[str, Any] = {"data": "scenes", "model": "auto:small", "encoder": "resnet18", "decoder_channels": None}
    config = build_config(values)
    assert (config.model, config.encoder, config.decoder_channels) == ("fpn", "resnet18", 128)


def test_no_such_budget() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'small'"):
        build_config({"data": "scenes", "model": "auto:smal"})
