"""Learning-rate factor as a pure function of the step, so that resuming needs no scheduler state."""

from __future__ import annotations

import math
from typing import Literal


def factor(step: int, total: int, warmup: int, kind: Literal["poly", "cosine", "constant"]) -> float:
    """Factor on the base learning rate for the update numbered `step` (from 0) of `total`.

    Linear warm-up over `warmup` steps, then poly with power 0.9 (Chen et al. 2017, arXiv:1606.00915), half a cosine
    (Loshchilov & Hutter 2017, arXiv:1608.03983) or constant.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    match kind:
        case "poly":
            return float((1 - progress) ** 0.9)
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "constant":
            return 1.0
