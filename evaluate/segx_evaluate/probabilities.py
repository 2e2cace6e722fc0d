"""Class map and, where the file gives them, probabilities of one picture from a single run of the model.

Only files that take the picture as it is and answer at its size are asked for both; for all others the class map alone
is taken, and calibration stays unknown. Knows nothing of what is done with either.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segx_core.card import Card
from segx_core.runner import ClassMap, TensorRunner, UInt8
from segx_evaluate.model import Model
from segx_evaluate.score import Probabilities

Answer = Callable[[UInt8], tuple[ClassMap, Probabilities | None]]
"""(H, W, 3) uint8 RGB -> (H, W) class indices and (K, H, W) float probabilities or None."""


def asker(model: Model) -> Answer:
    """How to ask this model, chosen once by its card."""
    names = _both(model.card)
    if names is None or not isinstance(model, TensorRunner):
        return lambda picture: (model.predict(picture), None)
    source, classmap, probabilities, channels_last = names
    runner: TensorRunner = model

    def ask(picture: UInt8) -> tuple[ClassMap, Probabilities | None]:
        answer = runner.infer({source: picture[np.newaxis]})
        p = answer[probabilities][0]
        return answer[classmap][0], np.moveaxis(p, -1, 0) if channels_last else p

    return ask


def _both(card: Card) -> tuple[str, str, str, bool] | None:
    """Names of the picture input, the class map and the probabilities, and whether K stands last; None if not so."""
    image = card.image
    plain = image.dtype == "uint8" and image.layout == "NHWC" and image.color == "RGB" and card.size.kind == "dynamic"
    if not plain or (image.normalisation is not None and image.normalisation.where == "runner"):
        return None
    maps = [spec.name for spec in card.outputs if spec.kind == "classmap" and spec.stride == 1]
    scores = [spec for spec in card.outputs if spec.kind == "probabilities" and spec.stride == 1]
    if not maps or not scores:
        return None
    return image.name, maps[0], scores[0].name, scores[0].layout == "NHWC"
