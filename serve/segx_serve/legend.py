"""What the numbers of a map mean: all that encoding an answer needs to know of a model."""

from __future__ import annotations

from dataclasses import dataclass

from segx_core.card import Color, Task
from segx_core.meaning import Meaning, meaning


@dataclass(frozen=True)
class Legend:
    """Names and colours of one model's classes."""

    model: str
    """The model's name, as callers choose it."""
    classes: tuple[str, ...] | None
    """Names by index; None for a model without a card, whose classes are numbers."""
    palette: tuple[Color, ...]
    """RGB by index."""
    task: Task = "multiclass"

    @property
    def meaning(self) -> Meaning:
        """Who reads the maps."""
        return meaning(self.task)

    def name(self, index: int) -> str:
        """The name of class `index`."""
        return self.classes[index] if self.classes else f"class_{index}"
