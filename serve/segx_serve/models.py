"""The models that one service offers, by name, each with its card and its engine.

A runner without a card is served too: its classes are then numbers. Knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from segx_core.card import Card, Color
from segx_core.errors import ConfigError
from segx_core.palette import default_palette
from segx_core.runner import Runner
from segx_serve.batcher import Batcher
from segx_serve.engine import Engine
from segx_serve.job import Job
from segx_serve.metrics import Metrics
from segx_serve.settings import Settings

_CPU = "CPUExecutionProvider"
_WARM_SIDE = 256
_PLAIN_CLASSES = 256


@dataclass(frozen=True)
class Model:
    """One model being served."""

    name: str
    runner: Runner
    card: Card | None
    """None for a runner that brings none."""
    provider: str
    """ONNX Runtime's name of it, or "custom" for a runner that is not ONNX Runtime's."""
    palette: tuple[Color, ...]
    batcher: Batcher
    engine: Engine

    @property
    def precision(self) -> str:
        """The card's precision, "unknown" without one."""
        return self.card.precision if self.card else "unknown"

    def class_name(self, index: int) -> str:
        """The name of class `index`."""
        return self.card.classes[index] if self.card else f"class_{index}"


def build(
    runners: Mapping[str, Runner], settings: Settings, metrics: Metrics, finished: Callable[[list[Job]], None]
) -> dict[str, Model]:
    """Wire up every runner with its own batcher and engine; nothing starts yet.

    Raises:
        ConfigError: no runner at all, or a name that cannot stand in an address.
    """
    if not runners:
        raise ConfigError("at least one model to serve", "none")
    return {name: _model(name, runner, settings, metrics, finished) for name, runner in runners.items()}


def _model(
    name: str, runner: Runner, settings: Settings, metrics: Metrics, finished: Callable[[list[Job]], None]
) -> Model:
    if not name or "/" in name:
        raise ConfigError("a model name without '/'", f"'{name}'", "Rename the file.")
    card = getattr(runner, "card", None)
    card = card if isinstance(card, Card) else None
    provider = str(getattr(runner, "provider", "custom"))
    count = settings.engine_threads(on_cpu=provider == _CPU)
    batcher = Batcher(count, settings.max_batch, settings.max_pixels, settings.max_wait_ms / 1000)
    precision = card.precision if card else "unknown"
    ran = metrics.model(name, provider, precision, depth=lambda: len(batcher))
    height, width = _usual_size(card)
    warm_up = np.zeros((1, height, width, 3), np.uint8)
    engine = Engine(name, runner, batcher, count, warm_up, finished, ran)
    palette = card.palette if card else default_palette(_PLAIN_CLASSES)
    return Model(name, runner, card, provider, palette, batcher, engine)


def _usual_size(card: Card | None) -> tuple[int, int]:
    """A picture size that callers are likely to send, so that warm-up warms the right thing."""
    if card and card.size.height and card.size.width:
        return card.size.height, card.size.width
    if card and card.measurements:
        return card.measurements[0].height, card.measurements[0].width
    return _WARM_SIDE, _WARM_SIDE
