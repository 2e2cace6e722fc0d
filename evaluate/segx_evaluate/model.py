"""What can be evaluated and used to predict files: a Predictor, or anything else that answers like one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from segx_core.card import Card
from segx_core.runner import ClassMap, UInt8


class Model(Protocol):
    """The part of Predictor that evaluation needs."""

    @property
    def card(self) -> Card:
        """What the model is."""
        ...

    @property
    def provider(self) -> str:
        """What runs it, by ONNX Runtime's name."""
        ...

    @property
    def path(self) -> Path:
        """The file it was read from."""
        ...

    @property
    def size_bytes(self) -> int:
        """Size of that file."""
        ...

    def predict(self, picture: UInt8) -> ClassMap:
        """(H, W, 3) uint8 RGB -> (H, W) class indices."""
        ...
