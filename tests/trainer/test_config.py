from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from segx_core.errors import ConfigError
from segx_trainer.config import TrainConfig, build_config, parse_assignments, read_yaml, to_yaml


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = build_config({"data": "scenes", "size": "96x128", "lr": 3e-4, "steps": 7, "until": 0.7})
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert build_config(read_yaml(path)) == config
    assert config.size == (96, 128)


def test_every_value_survives_yaml() -> None:
    """YAML 1.1 turns words such as on, off and no into booleans."""
    for field in TrainConfig.model_fields.values():
        for value in getattr(field.annotation, "__args__", ()):
            if isinstance(value, str):
                assert yaml.safe_load(value) == value


def test_assignments() -> None:
    values = parse_assignments(["lr=3e-4", "size=64x96", "epochs=3", "data=a=b", "dropout=null"])
    assert values == {"lr": 3e-4, "size": "64x96", "epochs": 3, "data": "a=b", "dropout": None}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": "x", "learning_rate": 1}, "learning_rate"),
        ({"data": "x", "epoch": 1}, "'epochs'"),
        ({"data": "x", "lr": -1}, "lr"),
        ({"data": "x", "size": "huge"}, "size"),
        ({"data": "x", "scale": [2, 1]}, "smaller one first"),
        ({"data": "x", "size": "8x8"}, "32x32"),
        ({"data": "x", "epochs": 1, "steps": 1}, "not both"),
        ({"data": "x", "model": "unett"}, "unet"),
        ({}, "data"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_config(dict(values))


@pytest.mark.parametrize("text", ["lr", "=3", ""])
def test_an_assignment_needs_a_key_and_a_value(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        parse_assignments([text])


@pytest.mark.parametrize("content", ["- a\n", "{", "3"])
def test_a_config_file_must_be_a_mapping(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError):
        read_yaml(path)
