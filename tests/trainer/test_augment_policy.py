from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from segx_core.errors import ConfigError
from segx_trainer import augment
from segx_trainer.augment import Labels, Pair, Policy, load, named, to_yaml
from segx_trainer.config import build_config
from segx_trainer.config import to_yaml as config_to_yaml

LABELS = Labels(255, ("sky", "left", "right", "car"), donors={3: (1,)})

KEYS: dict[str, Any] = {
    "scale": [2.0, 2.0], "aspect": 2.0, "flip": 1.0, "vertical_flip": 1.0, "warp": {"p": 1.0, "degrees": 20.0},
    "copy_paste": {"p": 1.0, "shift": 0.0}, "mosaic": {"p": 1.0}, "cutmix": {"p": 1.0}, "classmix": {"p": 1.0},
    "color": {"brightness": 0.5}, "blur": {"p": 1.0, "sigma": [2.0, 2.0]}, "noise": {"p": 1.0}, "jpeg": {"p": 1.0},
    "erase": {"p": 1.0},
}  # fmt: skip
"""Every key but swap, which needs a flip, alone and strong enough to be seen."""


def pool() -> list[Pair]:
    rng = np.random.default_rng(3)
    pairs = []
    for label in (1, 3):
        mask = torch.zeros((60, 80), dtype=torch.int64)
        mask[10 + label : 40, 5:30] = label
        image = torch.from_numpy(rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)).permute(2, 0, 1)
        pairs.append((image, mask))
    return pairs


def test_every_key_is_tried() -> None:
    assert {*KEYS, "swap"} == set(Policy.model_fields)


@pytest.mark.parametrize("key", list(KEYS))
def test_every_key_does_something_and_nothing_without_it(key: str) -> None:
    pictures = pool()
    policy = load({key: KEYS[key]})
    changed = augment.apply(
        augment.preset(policy, (60, 80), LABELS), *pictures[0], rng=augment.stream(0, 0, 2), pool=pictures
    )
    assert not torch.equal(changed[0], pictures[0][0])
    moves = key not in ("color", "blur", "noise", "jpeg")
    assert torch.equal(changed[1], pictures[0][1]) != moves
    if isinstance(KEYS[key], dict):
        never = load({key: {**KEYS[key], "p": 0.0}})
        same = augment.apply(
            augment.preset(never, (60, 80), LABELS), *pictures[0], rng=augment.stream(0, 0, 1), pool=pictures
        )
        assert all(torch.equal(a, b) for a, b in zip(same, pictures[0], strict=True))


@pytest.mark.parametrize("name", ["none", "light", "strong"])
def test_a_preset_is_a_policy_that_its_own_file_gives_back(name: Any, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(to_yaml(named(name)), encoding="utf-8")
    assert load(str(path)) == named(name)
    assert load(name) == name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"flp": 0.5}, r"'flp'.*'flip'"),
        ({"blur": {"sigm": [1, 2]}}, r"'blur\.sigm'.*'sigma'"),
        ({"flip": 1.5}, r"'flip'.*less than or equal to 1"),
        ({"scale": [2.0, 0.5]}, "smaller number first"),
        ({"jpeg": {"quality": [40, 101]}}, "quality"),
        ({"swap": [["a", "b"]]}, "swap needs flip"),
        ({"flip": 1, "swap": [["a", "b"], ["b", "c"]]}, "'b' stands there more often"),
        ({"erase": {"labels": "drop"}}, "'ignore' or 'keep'"),
    ],
)
def test_what_is_wrong_in_a_policy_is_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [("- flip", "keys and values"), ("flip: [", "readable YAML policy"), ("flop: 1", r"policy\.yaml.*'flop'")],
)
def test_a_file_that_is_no_policy_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load(str(path))


def test_a_misspelt_preset_is_answered_with_the_near_one() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'strong'"):
        build_config({"data": "scenes", "augment": "stron"})


def test_a_policy_file_becomes_part_of_the_config(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("flip: 0.5\nblur: {p: 0.1}\n", encoding="utf-8")
    config = build_config({"data": "scenes", "augment": str(path)})
    path.unlink()  # a run is resumed without its file, from what config.yaml holds
    again = build_config({k: v for k, v in yaml.safe_load(config_to_yaml(config)).items() if v is not None})
    assert again.augment == config.augment == load({"flip": 0.5, "blur": {"p": 0.1}})
    assert build_config({**config.model_dump(exclude_none=True)}) == config


def test_erased_labels_are_ignored_or_kept() -> None:
    pictures = pool()
    for labels, changes in (("ignore", True), ("keep", False)):
        steps = augment.preset(load({"erase": {"p": 1, "labels": labels}}), (60, 80), 255)
        _, mask = augment.apply(steps, *pictures[0], rng=augment.stream(0, 0, 0), pool=pictures)
        assert bool((mask == 255).any()) == changes
