"""The contestants: cross-entropy plus half of dice as segx sums them, as plain torch does, and as SMP's two losses.

Imports torch only when a contestant is made, so that the process that starts the others stays small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

IGNORE = 255
Objective = Callable[[Any, Any], Any]
"""(B, K, H, W) logits, (B, H, W) int64 target -> scalar."""


def batch(pictures: int, classes: int, height: int, width: int, *, channels_last: bool = False) -> tuple[Any, Any]:
    """Random logits that want a gradient, and labels of which one in a hundred is ignored."""
    import torch

    torch.manual_seed(0)
    logits = torch.empty((pictures, classes, height, width))
    logits = logits.to(memory_format=torch.channels_last) if channels_last else logits
    logits.normal_(0, 2)
    target = torch.randint(0, classes, (pictures, height, width))
    target[:, : max(1, height // 100)] = IGNORE
    return logits.requires_grad_(), target


def segx(expression: str, classes: int) -> Objective:
    """The loss `segx train --loss EXPRESSION` takes."""
    from segx_trainer import losses

    return losses.build(expression, classes, IGNORE)


def smp() -> Objective:
    """segmentation-models-pytorch's pair; its cross-entropy fails without a smoothing factor, so it gets 0."""
    from segmentation_models_pytorch.losses import DiceLoss, SoftCrossEntropyLoss

    ce, dice = SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=IGNORE), DiceLoss("multiclass", ignore_index=IGNORE)
    return lambda logits, target: ce(logits, target) + 0.5 * dice(logits, target)


def plain_ce() -> Objective:
    """torch's own cross-entropy."""
    from torch.nn import functional

    return lambda logits, target: functional.cross_entropy(logits, target, ignore_index=IGNORE)


def plain() -> Objective:
    """torch's cross-entropy and a dice written down as it is defined, each for itself."""
    import torch

    ce = plain_ce()

    def both(logits: Any, target: Any) -> Any:
        valid = target != IGNORE
        share = logits.softmax(1) * valid.unsqueeze(1)
        hot = torch.zeros_like(share).scatter_(1, target.masked_fill(~valid, 0).unsqueeze(1), 1.0) * valid.unsqueeze(1)
        overlap, size = (share * hot).sum((0, 2, 3)), (share.sum((0, 2, 3)) + hot.sum((0, 2, 3)))
        return ce(logits, target) + 0.5 * (1 - 2 * overlap / size).mean()

    return both


def contestants(classes: int) -> dict[str, Callable[[], Objective]]:
    """By the name of the results page."""
    return {"segx": lambda: segx("ce + 0.5*dice", classes), "plain torch": plain, "SMP": smp}
