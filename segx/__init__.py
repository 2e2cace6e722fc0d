"""segx: from labelled pictures to a measured, compressed ONNX file and a running service.

import segx
classmap = segx.load("model.onnx").predict(picture)  # (H, W, 3) uint8 RGB -> (H, W) uint8
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segx_core.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(path: str | Path, provider: str = "auto", card: str | Path | None = None) -> Predictor:
    """Load an exported model.

    Args:
        path: an ONNX file with its card inside, or any other with `card`.
        provider: "auto" takes CUDA when it really loads, else the CPU; "cpu" and "cuda" are meant literally.
        card: YAML card of a file that carries none.

    Returns:
        A Predictor: `predict(picture (H, W, 3) uint8 RGB) -> (H, W) uint8` class indices.

    Raises:
        SegxError: a missing or damaged file, a card that does not fit, a provider that is not there.
    """
    from segx_core.predictor import Predictor

    return Predictor.load(path, provider=provider, card=None if card is None else Path(card))
