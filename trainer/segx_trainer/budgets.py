"""`model: auto:small` and its like: which network, encoder and width a budget of parameters buys.

Plain values in, plain values out, before a config is checked; whatever the user names himself stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segx_core.errors import ConfigError, near

AUTO = "auto:"


@dataclass(frozen=True)
class Budget:
    """A choice of network, and the most parameters (millions) it may have."""

    model: str
    encoder: str
    decoder_channels: int
    most_parameters: float


BUDGETS = {
    "small": Budget("fpn", "efficientnet_lite0", 128, 6),
    "medium": Budget("fpn", "resnet34", 256, 25),
    "large": Budget("deeplabv3plus", "resnet101", 256, 50),
}
"""`small` trains in acceptable time on a CPU; all three are of layers that quantize well."""


def resolve(values: dict[str, Any]) -> dict[str, Any]:
    """Config keys with `auto:NAME` replaced by what it stands for.

    Raises:
        ConfigError: no such budget.
    """
    model = values.get("model")
    if not isinstance(model, str) or not model.startswith(AUTO):
        return values
    name = model.removeprefix(AUTO)
    if name not in BUDGETS:
        raise ConfigError("a budget after 'auto:'", f"'{name}'", near(name, BUDGETS))
    budget = BUDGETS[name]
    usual = {"encoder": budget.encoder, "decoder_channels": budget.decoder_channels}
    given = {key: value for key, value in values.items() if value is not None}
    return {**usual, **given, "model": budget.model}
