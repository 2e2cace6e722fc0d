"""One model being served: what is known of it and the lane its pictures go down.

A runner without a card is served too: its classes are then numbers. Knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from segx_core.card import Card, Color, Task
from segx_core.errors import ConfigError
from segx_core.palette import default_palette
from segx_core.runner import Runner, UInt8
from segx_serve.batcher import Batcher
from segx_serve.engine import Engine
from segx_serve.job import Job, Work
from segx_serve.repository import is_name
from segx_serve.settings import CPU, Settings, on_gpu

W = TypeVar("W", bound=Work)
# Seconds that a batch may take on a CPU.
_CPU_BATCH = 0.004
_WARM_SIDE = 256
_PLAIN_CLASSES = 256


class Lane(Protocol):
    """Where the decoded pictures of one model are batched and run: an engine here, or one in another process."""

    @property
    def ready(self) -> bool:
        """Whether the model has been warmed up and can run."""
        ...

    @property
    def failure(self) -> str:
        """Why it cannot; empty while all is well or it is still warming up."""
        ...

    @property
    def refuses(self) -> str:
        """Why no picture can be put in now; empty where it can."""
        ...

    @property
    def depth(self) -> int:
        """Decoded pictures that wait."""
        ...

    def put(self, job: Job) -> None:
        """Queue a decoded job; from any thread."""
        ...

    def overdue(self, seconds: float) -> list[Job]:
        """Jobs whose run has not ended in time; the lane is not ready from then on."""
        ...


@dataclass(frozen=True)
class Model:
    """One version of one model being served."""

    name: str
    version: str
    card: Card | None
    """None for a runner that brings none."""
    provider: str
    """ONNX Runtime's name of it, or "custom" for a runner that is not ONNX Runtime's."""
    size_bytes: int | None
    lane: Lane
    palette: tuple[Color, ...]
    state: str = "ready"
    """"loading" while it has never been ready, "ready", or "failed"."""

    @property
    def labels(self) -> dict[str, str]:
        """What names it among metrics."""
        return {"model": self.name, "version": self.version, "provider": self.provider, "precision": self.precision}

    @property
    def task(self) -> Task:
        """Whether a pixel has one class or any number of them; a runner without a card gives one."""
        return self.card.task if self.card else "multiclass"

    @property
    def precision(self) -> str:
        """The card's precision, "unknown" without one."""
        return self.card.precision if self.card else "unknown"

    def class_name(self, index: int) -> str:
        """The name of class `index`; a model may say of a pixel that it is of no class."""
        if self.card is None:
            return f"class_{index}"
        return self.card.classes[index] if index < len(self.card.classes) else "no class"


def describe(
    name: str,
    version: str,
    card: Card | None,
    provider: str,
    size_bytes: int | None,
    lane: Lane,
    state: str = "ready",
) -> Model:
    """A model from what is known of it.

    Raises:
        ConfigError: a name that cannot stand in an address.
    """
    if not is_name(name):
        raise ConfigError("a model name of at most 200 characters without / ? # %", f"'{name}'", "Rename the file.")
    palette = card.palette if card else default_palette(_PLAIN_CLASSES)
    return Model(name, version, card, provider, size_bytes, lane, palette, state)


def card_of(runner: Runner) -> Card | None:
    """The card that a runner brings along, as core's Predictor does."""
    card = getattr(runner, "card", None)
    return card if isinstance(card, Card) else None


def provider_of(runner: Runner) -> str:
    """What a runner says it runs on."""
    return str(getattr(runner, "provider", "custom"))


def engine_for(
    name: str,
    runner: Runner,
    settings: Settings,
    finished: Callable[[list[W]], None],
    together: Callable[[list[W]], UInt8 | None],
) -> Engine[W]:
    """An engine around a runner, with as many threads as fit what it runs on; not started."""
    provider = provider_of(runner)
    count = settings.engine_threads(provider)
    most = _CPU_BATCH if provider == CPU else float("inf")
    wait = settings.max_wait_ms / 1000
    # A GPU's two engines take turns at it: halves of what waits would take as long as the whole.
    shares = not on_gpu(provider)
    batcher: Batcher[W] = Batcher(count, settings.max_batch, settings.max_pixels, wait, most, shares=shares)
    warm_up = np.zeros((1, *usual_size(card_of(runner)), 3), np.uint8)
    return Engine(name, runner, batcher, count, warm_up, finished, together)


def usual_size(card: Card | None) -> tuple[int, int]:
    """(height, width) that callers are likely to send, so that warm-up warms the right thing."""
    if card and card.size.height and card.size.width:
        return card.size.height, card.size.width
    if card and card.measurements:
        return card.measurements[0].height, card.measurements[0].width
    return _WARM_SIDE, _WARM_SIDE
