"""The quality gate: from what was measured on held-out pictures to passed or rejected, with reasons in words.

It runs nothing; measure.py does. Losses are those of IoU in points (1 point = 0.01), of the mean and of the class that
fell most: a mean hides a class that is lost. Speed counts too: a file that was made to be fast and is slow is no good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segx_core.card import Gate
from segx_core.confusion import iou, miou, tallies, target_miou


@dataclass(frozen=True)
class Limits:
    """What a file may cost. None switches one limit off."""

    max_drop: float = 0.5
    """Points of mean IoU; negative asks for a gain."""
    max_class_drop: float | None = 5.0
    """Points of IoU of any one class."""
    min_agreement: float | None = None
    """Share of pixels that must keep the class of fp32, 0-1."""
    max_latency: float | None = None
    """Time of one picture over that of fp32, beyond doubt (see measure.slowdown)."""


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
    limits: Limits,
    agreement: float,
    latency: float | None = None,
    defects: Sequence[str] = (),
) -> Verdict:
    """Compare two confusion matrices over the same pixels.

    Args:
        reference: counts of the float32 file, rows = target, as `meaning` of the data counts.
        candidate: the same of the file in question.
        classes: K names.
        limits: what is allowed.
        agreement: share of equal pixels, 0-1.
        latency: time of one picture over the reference's, beyond doubt; None where it does not count.
        defects: further reasons to reject, found elsewhere.
    """
    before, after = iou(reference), iou(candidate)
    # Over the classes of the target, which are the same for both; see `target_miou`.
    drops = np.where(tallies(reference)[1] > 0, np.nan_to_num(before) - np.nan_to_num(after), -np.inf) * 100
    worst = int(np.argmax(drops))
    drop = (target_miou(reference) - target_miou(candidate)) * 100
    fall = (
        f"class '{classes[worst]}' fell most, by {drops[worst]:.2f} points ({before[worst]:.4f} to {after[worst]:.4f})"
    )
    reasons = list(defects)
    if not drop <= limits.max_drop:  # also when it is NaN
        reasons.append(
            f"mean IoU fell by {drop:.2f} points ({miou(reference):.4f} to {miou(candidate):.4f}), "
            f"{limits.max_drop:g} are allowed; {fall}"
        )
    elif limits.max_class_drop is not None and drops[worst] > limits.max_class_drop:
        reasons.append(f"{fall}; {limits.max_class_drop:g} are allowed")
    if limits.min_agreement is not None and agreement < limits.min_agreement:
        reasons.append(f"{agreement:.3%} of the pixels keep their class; {limits.min_agreement:.3%} must")
    if limits.max_latency is not None and latency is not None and latency > limits.max_latency:
        reasons.append(f"a picture takes at least {latency:.2f} times fp32's time; {limits.max_latency:g} are allowed")
    gate = Gate(status="rejected" if reasons else "passed", max_drop=limits.max_drop, reasons=tuple(reasons))
    return Verdict(gate, float(drop), classes[worst], float(drops[worst]), agreement)
