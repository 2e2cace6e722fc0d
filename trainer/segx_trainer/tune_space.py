"""The space a search looks through: which config keys may vary, and between which values.

Plain records, from YAML or the built-in default. How values are drawn from it is the search's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segx_core.card import Task
from segx_core.errors import ConfigError, near
from segx_trainer.config import RUNTIME_KEYS, TrainConfig, build_config, read_yaml

DEFAULT = "default"
_FIXED = {"data", "epochs", "steps", "seed", "until", "patience", "validate_every"} | RUNTIME_KEYS
"""Keys that would make trials unlike each other in what they cost or are measured on."""
_EXAMPLE = "Write for example 'lr: {low: 1e-4, high: 1e-2, log: true}' or 'augment: [light, strong]'."


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; by their logarithm where `log`; whole ones where both ends are."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def holds(self, value: Any) -> bool:
        """Whether a value lies in it."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choices:
    """A few values, unordered."""

    values: tuple[bool | int | float | str, ...]

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return value in self.values


Space = dict[str, Range | Choices]


def default_space(task: Task) -> Space:
    """What is worth searching first: how fast to learn, how strongly to regularise, and what to minimise."""
    space: Space = {
        "lr": Range(1e-4, 5e-3, log=True),
        "encoder_lr_factor": Range(0.1, 1.0, log=True),
        "weight_decay": Range(1e-4, 1e-1, log=True),
        "schedule": Choices(("poly", "cosine")),
        "augment": Choices(("light", "strong")),
    }
    if task == "multiclass":
        space["loss"] = Choices(("ce", "ce + 0.5*dice", "ce[smoothing=0.1] + dice"))
    else:
        space["loss"] = Choices(("bce", "bce + 0.5*dice", "bce + dice"))
    return space


def read_space(source: str, task: Task, base: dict[str, Any]) -> Space:
    """The space named `default`, or that in a YAML file.

    Args:
        source: "default", or a path: keys of the config, each with {low, high, log} or a list of values.
        task: of the data, for the default.
        base: config keys that every trial has; the default space leaves them alone, a file may not name them.

    Raises:
        ConfigError: an unknown key, one that must not vary, or values it cannot take.
    """
    if source == DEFAULT:
        return {key: domain for key, domain in default_space(task).items() if key not in base}
    space = {key: _domain(key, value) for key, value in read_yaml(Path(source)).items()}
    if not space:
        raise ConfigError("at least one key in the search space", f"none in {source}", _EXAMPLE)
    for key, domain in space.items():
        if key in base:
            raise ConfigError(f"'{key}' either fixed or in the search space", "both", "Leave it out of one of them.")
        ends = domain.values if isinstance(domain, Choices) else (domain.low, domain.high)
        for value in ends:
            build_config({**base, key: value})
    return space


def _domain(key: str, value: Any) -> Range | Choices:
    if key not in TrainConfig.model_fields:
        raise ConfigError("a config key in the search space", f"'{key}'", near(key, TrainConfig.model_fields))
    if key in _FIXED:
        raise ConfigError("keys that leave trials comparable in the search space", f"'{key}'", "Fix it with an option.")
    match value:
        case list() if value and all(isinstance(one, bool | int | float | str) for one in value):
            return Choices(tuple(_number(one) for one in value))
        case {"low": low, "high": high, **rest} if set(rest) <= {"log"}:
            ends, log = (_number(low), _number(high)), rest.get("log", False)
            if (
                isinstance(log, bool)
                and all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends)
                and ends[0] < ends[1]
                and (ends[0] > 0 or not log)
            ):
                return Range(ends[0], ends[1], log)
    raise ConfigError(f"a range or a list of values for '{key}' in the search space", repr(value), _EXAMPLE)


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text."""
    try:
        return float(value) if isinstance(value, str) and "e" in value.lower() else value
    except ValueError:
        return value
