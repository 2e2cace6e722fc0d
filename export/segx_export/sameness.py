"""Whether the float reference made of somebody else's file computes what that file computes.

Both run through Predictor on the same random pictures: scores close, class maps equal but for ties. It knows nothing
of how the reference was made; quality on real data is gate.py's business.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segx_core import geometry, thirdparty
from segx_core.card import SizeRule
from segx_core.errors import GateError
from segx_core.predictor import Predictor
from segx_core.runner import UInt8
from segx_export.deploy import LOGITS
from segx_export.feeding import calibration_feeds
from segx_export.parity import CLOSE, TIE, Parity, random_picture

_ALIKE = 0.999
"""Share of pixels that must agree where a file gives class maps alone, and no margin tells ties."""


def sizes_for(rule: SizeRule) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two sizes of pictures a rule allows, about a hundred pixels a side, unlike each other; a fixed one twice."""
    if rule.height is not None and rule.width is not None:
        return (rule.height, rule.width), (rule.height, rule.width)
    if rule.kind == "dynamic":
        return (97, 131), (161, 118)  # odd: what holds at multiples only must not pass for a rule
    count = max(2, -(-96 // rule.multiple))
    return (count * rule.multiple, (count + 1) * rule.multiple), ((count + 2) * rule.multiple, count * rule.multiple)


def check_same(given: Predictor, reference: Predictor, seed: int = 0) -> Parity:
    """Compare a third-party file with the float reference made of it.

    Args:
        given: the file as it was given, with its card.
        reference: what was made of it, in whatever form; a deploy form gives its full-size scores under LOGITS.
        seed: of the pictures.

    Raises:
        GateError: scores differ by more than CLOSE, or a class that was no tie flipped.
    """
    random = np.random.default_rng(seed)
    sizes = list(dict.fromkeys(sizes_for(given.card.size)))
    if given.card.size.kind == "multiple":
        sizes.append((sizes[0][0] - 1, sizes[0][1] + 1))
    shapes = tuple((1, height, width) for height, width in sizes)
    worst = flips = 0.0
    same = total = 0
    for shape in shapes:
        picture = random_picture(random, shape)[0]
        differs = given.predict(picture) != reference.predict(picture)
        same, total = same + int((~differs).sum()), total + differs.size
        want, got = _scores(given, picture), _scores(reference, picture)
        if want is None or got is None:
            continue
        want = geometry.bilinear(want, *got.shape[1:])
        scale = max(1.0, float(np.abs(want).max()))
        difference = float(np.abs(want - got).max()) / scale
        if not np.isfinite(difference):
            raise GateError("finite scores from the given file and the reference", f"{difference} at shape {shape}")
        worst = max(worst, difference)
        if differs.any():
            flips = max(flips, _widest(want, differs, given.card.size) / scale)
    if worst > CLOSE or flips > TIE or (given.card.prediction.is_map and same < _ALIKE * total):
        raise GateError(
            f"scores within {CLOSE:g} of the given file's, and only ties to flip",
            f"a difference of {worst:.2g}, a flipped margin of {flips:.2g}, {same / total:.4%} of pixels alike",
            "The reference does not compute what the file does; report it with the file's operators.",
        )
    return Parity(shapes, worst, same / total, flips)


def _scores(predictor: Predictor, picture: UInt8) -> NDArray[np.float32] | None:
    """(K, h, w) float32 at the size the file gives them, padding included; None for class maps."""
    (feed,) = calibration_feeds(predictor.card, predictor.inputs, [picture])
    made = predictor.infer(feed)
    if LOGITS in made:
        inner: NDArray[np.float32] = made[LOGITS][0]
        return inner
    spec = predictor.card.prediction
    return None if spec.is_map else thirdparty.planes(made[spec.name], spec)[0]


def _widest(scores: NDArray[np.float32], differs: NDArray[np.bool_], rule: SizeRule) -> float:
    """Largest top-2 margin among pixels whose class differs."""
    height, width = differs.shape
    multiple = rule.multiple
    full = geometry.bilinear(scores, height + -height % multiple, width + -width % multiple)[:, :height, :width]
    top = np.sort(full, axis=0)[-2:]
    return float((top[1] - top[0])[differs].max()) if len(full) > 1 else 0.0
