"""Every policy that the documentation and the examples show is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from segx_trainer.augment import Policy, load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "augmentation.md").read_text(encoding="utf-8")


def test_the_page_shows_every_key() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    content = yaml.safe_load(shown)
    policy = load(content)
    assert isinstance(policy, Policy)
    assert set(content) == set(Policy.model_fields)
    for key, value in policy:
        if key in content and isinstance(content[key], dict):
            assert set(content[key]) == set(type(value).model_fields), key


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "policies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_policies(path: Path) -> None:
    assert isinstance(load(str(path)), Policy)
