"""From logits to the map: the best class of each pixel, or the bits of all classes above their thresholds, in torch.

The exported graph does the same in ONNX. Knows nothing of networks or of data.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segx_core import bits
from segx_core.card import Task


def usual_thresholds(task: Task, num_classes: int) -> tuple[float, ...]:
    """What a probability must be above for its class to be there: a half each; nothing where the best class wins."""
    return (0.5,) * num_classes if task == "multilabel" else ()


def decide(logits: Tensor, thresholds: Sequence[float] = ()) -> Tensor:
    """The map of a batch.

    Args:
        logits: (B, K, H, W) float.
        thresholds: K probabilities of a multilabel model; none for a multiclass one.

    Returns:
        (B, H, W) int64: class indices, or bit fields with bit k for class k.
    """
    if not thresholds:
        return logits.argmax(1)
    cuts = torch.tensor([bits.cut(one) for one in thresholds], dtype=logits.dtype, device=logits.device)
    there = logits > cuts.view(1, -1, 1, 1)
    values = 1 << torch.arange(len(thresholds), device=logits.device)
    return (there * values.view(1, -1, 1, 1)).sum(1)
