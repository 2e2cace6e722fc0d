"""Whatever pydantic finds wrong, as one message that names the field."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segx_core.errors import ConfigError
from segx_core.validation import explain


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = Field(default=1, ge=1)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    parts: dict[str, Inner] = {}
    lists: tuple[Inner, ...] | None = None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "expected 'name' in f.yaml, got no such key. Add it."),
        ({"nam": "x"}, "expected only known keys in f.yaml, got 'nam'. Did you mean 'name'? (1 more after this one.)"),
        ({"name": "x", "zzz": 1}, "expected only known keys in f.yaml, got 'zzz'. Known: lists, name, parts."),
        ({"name": "x", "lists": [{}, {"wdth": 1}]}, "got 'lists[1].wdth'. Did you mean 'width'?"),
        ({"name": "x", "parts": {"a": {"wdth": 1}}}, "got 'parts.a.wdth'. Did you mean 'width'?"),
        (
            {"name": "x", "parts": {"a": {"width": 0}}},
            "'parts.a.width' in f.yaml to be greater than or equal to 1, got 0",
        ),
        ({"name": ["x" * 100]}, "..."),
    ],
)
def test_the_message_names_the_field(fields, told):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(fields)
    error = explain(caught.value, Outer, "f.yaml", ConfigError)
    assert isinstance(error, ConfigError)
    assert told in str(error)
    assert len(str(error)) < 250
