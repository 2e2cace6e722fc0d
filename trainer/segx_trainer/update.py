"""One update of a network's weights, in the three pieces that every loop here is made of.

It keeps nothing and decides nothing: which batch, which rate and when to stop is the loop's business.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segx_trainer import losses
from segx_trainer.device import Arithmetic


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of `build_optimizer` its part of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def compute_loss(
    network: nn.Module,
    objective: losses.CombinedLoss,
    arithmetic: Arithmetic,
    images: Tensor,
    targets: Tensor,
    step: int,
    teacher: nn.Module | None = None,
) -> Tensor:
    """The scalar loss of one batch, with its graph.

    Args:
        network: (B, 3, h, w) uint8 -> (B, K, h, w) logits.
        objective: reads the teacher's logits where one of its terms needs them; otherwise the teacher is not run.
        arithmetic: device, on which all of them lie, and precision.
        images: (B, 3, h, w) uint8.
        targets: (B, h, w) int64.
        step: updates done so far.
        teacher: a network of the same classes, in eval mode.
    """
    device, half = arithmetic.device, arithmetic.half
    with torch.autocast(device.type, dtype=half, enabled=half is not None):
        known = None
        if teacher is not None and "teacher_logits" in objective.needs:
            with torch.no_grad():
                known = teacher(images)  # (B, K, h, w)
        context = losses.Context(network=network, teacher_logits=known, step=step)
        loss: Tensor = objective(network(images), targets, context)
    return loss


def descend(
    loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, clip: float
) -> None:
    """Gradient, clipped to the norm `clip` unless that is 0, and one step of the optimizer."""
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(scaler.scale(loss))
    if clip > 0:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
    scaler.step(optimizer)
    scaler.update()
