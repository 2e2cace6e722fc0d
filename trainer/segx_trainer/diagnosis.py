"""Says what went wrong where a training loss is no longer finite. Measures nothing itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segx_core.errors import ModelError, SegxError


def diverged(loss: float, terms: dict[str, float], step: int, rate: float, run: Path) -> SegxError:
    """The error for a loss that is not finite: which term, and what to change."""
    guilty = [name for name, value in terms.items() if not np.isfinite(value)]
    return ModelError(
        "a finite training loss",
        f"{loss} within the steps up to {step} (term {', '.join(guilty) or 'none alone'}, learning rate {rate:.2g})",
        f"Lower --lr, lengthen --set warmup, or tighten --set clip; the checkpoints in {run} are from before.",
    )
