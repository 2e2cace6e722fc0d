"""Class map and, where the file gives them, probabilities of one picture: from a single run where that can be.

Logits are not asked for: only a file that promises probabilities is judged by them. Knows nothing of what is done with
either.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segx_core.card import Card
from segx_core.predictor import Predictor
from segx_core.runner import ClassMap, UInt8
from segx_evaluate.model import Model
from segx_evaluate.score import Probabilities

Answer = Callable[[UInt8], tuple[ClassMap, Probabilities | None]]
"""(H, W, 3) uint8 RGB -> (H, W) class indices and (K, H, W) float probabilities or None."""


def asker(model: Model) -> Answer:
    """How to ask this model, chosen once by its card."""
    kinds = {spec.kind: spec for spec in model.card.outputs}
    if not isinstance(model, Predictor) or "probabilities" not in kinds:
        return lambda picture: (model.predict(picture), None)
    decided = model.card.prediction
    if not decided.is_map or not _plain(model.card):
        return lambda picture: (model.predict(picture), _probabilities(model, picture))
    image, classmap, scores = model.card.image.name, decided.name, kinds["probabilities"]

    def ask(picture: UInt8) -> tuple[ClassMap, Probabilities | None]:
        answer = model.infer({image: picture[np.newaxis]})
        p = answer[scores.name][0]
        return answer[classmap][0], np.moveaxis(p, -1, 0) if scores.layout == "NHWC" else p

    return ask


def _probabilities(model: Predictor, picture: UInt8) -> Probabilities | None:
    batch = model.probabilities(picture[np.newaxis])
    return None if batch is None else batch[0]


def _plain(card: Card) -> bool:
    """Whether the graph takes the picture as it is and answers at its size, as segx's own files do."""
    image = card.image
    return (
        (image.dtype, image.layout, image.color, card.size.kind) == ("uint8", "NHWC", "RGB", "dynamic")
        and (image.normalisation is None or image.normalisation.where == "graph")
        and all(spec.stride == 1 for spec in card.outputs)
    )
