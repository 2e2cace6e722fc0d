"""Finds what was no longer finite first, and says what to change. Keeps nothing and decides nothing else.

Inputs are bytes and always finite. What follows from them comes in the order logits, terms of the loss, loss, gradient,
weights; the first of these is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from segx_core.errors import ModelError, SegxError


def first_broken(loss: float, terms: Mapping[str, float], logits: float, norm: float) -> str | None:
    """What of one update was not finite first, in words; None where all of it was.

    Args:
        loss: mean over the update's batches.
        terms: unweighted, by name.
        logits: their sum.
        norm: of the gradient before clipping; NaN and infinity count, so give 0 where float16 may overflow.
    """
    if not np.isfinite(logits):
        return f"the logits ({logits})"
    guilty = [f"{name} ({value})" for name, value in terms.items() if not np.isfinite(value)]
    if guilty:
        return f"the term {', '.join(guilty)}, of finite logits"
    if not np.isfinite(loss):
        return f"the sum of finite terms ({loss})"
    return None if np.isfinite(norm) else f"the gradient (norm {norm} before clipping), of a finite loss {loss:.4g}"


def diverged(what: str, step: int, rate: float, run: Path) -> SegxError:
    """The error for a training whose numbers are no longer finite.

    Args:
        what: as `first_broken` says it.
        step: number of the update, from 1.
        rate: learning rate of that update.
        run: its folder.
    """
    return ModelError(
        "a finite training loss and gradient",
        f"at step {step}, first of all, {what}; the learning rate was {rate:.2g}",
        f"Lower --lr, lengthen --set warmup, or tighten --set clip; the checkpoints in {run} are from before.",
    )


def broken_weights(network: nn.Module) -> str | None:
    """The first weight or running statistic that is not finite, in words."""
    held = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    # One number a tensor, and one read of them all: sums of finite float32 do not overflow in float64.
    sums: list[Tensor] = [value.sum(dtype=torch.float64) for value in held.values()]
    finite = torch.isfinite(torch.stack(sums)).tolist()
    return next((f"the weights {name}" for name, good in zip(held, finite, strict=True) if not good), None)
