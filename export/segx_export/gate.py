"""The quality gate: from what was measured on held-out pictures to passed or rejected, with reasons in words.

It runs nothing; measure.py does. The drop is that of the mean IoU in points (1 point = 0.01); the class that fell most
is always named, because a mean hides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segx_core.card import Gate
from segx_core.confusion import iou, miou


@dataclass(frozen=True)
class Verdict:
    """What the gate found. Points are hundredths of IoU; positive is a loss."""

    gate: Gate
    drop: float
    """Loss of mean IoU, points."""
    worst_class: str
    worst_drop: float
    """Loss of that class's IoU, points."""
    agreement: float
    """Share of pixels with the reference's class, 0-1."""


def judge(
    reference: NDArray[np.int64],
    candidate: NDArray[np.int64],
    classes: Sequence[str],
    max_drop: float,
    agreement: float,
    defects: Sequence[str] = (),
) -> Verdict:
    """Compare two confusion matrices over the same pixels.

    Args:
        reference: counts of the float32 file, rows = target, as `meaning` of the data counts.
        candidate: the same of the file in question.
        classes: K names.
        max_drop: allowed loss of mean IoU in points; negative asks for a gain.
        agreement: share of equal pixels, 0-1, to be reported.
        defects: further reasons to reject, found elsewhere.
    """
    before, after = iou(reference), iou(candidate)
    # A class absent from target and prediction in one matrix alone counts as 0 there only if the other has it.
    drops = (np.nan_to_num(before) - np.nan_to_num(after)) * 100
    worst = int(np.argmax(drops))
    drop = (miou(reference) - miou(candidate)) * 100
    reasons = list(defects)
    if not drop <= max_drop:  # also when it is NaN
        reasons.append(
            f"mean IoU fell by {drop:.2f} points ({miou(reference):.4f} to {miou(candidate):.4f}), "
            f"{max_drop:g} are allowed; class '{classes[worst]}' fell most, by {drops[worst]:.2f} points "
            f"({before[worst]:.4f} to {after[worst]:.4f})"
        )
    gate = Gate(status="rejected" if reasons else "passed", max_drop=max_drop, reasons=tuple(reasons))
    return Verdict(gate, float(drop), classes[worst], float(drops[worst]), agreement)
