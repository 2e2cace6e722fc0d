"""One update of a network's weights, and the pieces it is made of, of which shorter loops make theirs.

It decides nothing: which pictures, which rate and when to stop is the loop's business. What changes with an update
besides the weights (their average, the last gradient, the scale of float16) changes here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from segx_core.errors import ModelError
from segx_trainer import losses
from segx_trainer.auxiliary import AuxHead
from segx_trainer.compiled import Forward, plain
from segx_trainer.device import Arithmetic
from segx_trainer.diagnosis import first_broken
from segx_trainer.networks import SegmentationNet
from segx_trainer.state import State

_SKIPS = 32  # in a row; the scale of float16 has then fallen from 2^16 to 2^-16, and overflow is no longer the reason


@dataclass(frozen=True)
class Taken:
    """What one update saw."""

    loss: Tensor
    """Scalar, detached: the mean over its batches of the loss without momentum terms."""
    terms: dict[str, Tensor]
    """Unweighted value of every term, momentum included, by its name in the log."""
    logits: Tensor
    """Scalar: the sum of all logits, finite only where all of them are."""
    norm: Tensor
    """Scalar: the norm of the gradient before clipping; 0 where it is scaled for float16, which may overflow."""
    broken: str | None = None
    """What was not finite, in words, where that was looked at; the weights are then as before."""


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of `build_optimizer` its part of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def update(
    state: State,
    objective: losses.CombinedLoss,
    arithmetic: Arithmetic,
    images: Tensor,
    targets: Tensor,
    parts: int = 1,
    clip: float = 0.0,
    total: int | None = None,
    teacher: nn.Module | None = None,
    forward: Forward = plain,
) -> Taken:
    """One step of the optimizer, down the mean gradient of `parts` batches; `state.step` grows by 1.

    One batch after the other is brought to the device, so memory is that of one. A step whose gradients overflowed
    float16 leaves weights, average and velocity as they were and is counted in `state.skipped`.

    On the CPU a loss or gradient that is not finite is seen before the weights are touched. A GPU would have to be
    waited for; there the loop looks at the numbers of several updates together, before anything is written.

    Args:
        objective: the loss; momentum terms are added once, after the clip, so that clipping bounds what is new in a
            gradient and not the sum of all past ones, just as with an optimizer's own momentum.
        images: (parts * B, 3, h, w) uint8, on any device.
        targets: (parts * B, h, w) int64.
        clip: largest norm of the gradient; 0 is no clipping.
        total: updates of the whole run, for terms that grow along it.
        teacher: as for `compute_loss`.
        forward: how the network is run.

    Raises:
        ModelError: the gradients of 32 updates in a row overflowed, at ever smaller scales.
    """
    optimizer, scaler, parameters = state.optimizer, state.scaler, state.parameters()
    optimizer.zero_grad(set_to_none=True)
    seen: list[Tensor] = []
    sums: list[Tensor] = []
    terms: dict[str, list[Tensor]] = {}
    for image, target in zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True):
        loss, logits = _batch_loss(
            state.network,
            objective,
            arithmetic,
            image.to(arithmetic.device, non_blocking=True, memory_format=torch.channels_last),
            target.to(arithmetic.device, non_blocking=True),
            state.step,
            teacher,
            average=None if state.average is None else state.average.network,
            auxiliary=state.auxiliary,
            progress=None if total is None else state.step / total,
            forward=forward,
        )
        torch.autograd.backward(scaler.scale(loss / parts))
        seen.append(loss.detach())
        sums.append(logits.detach().sum(dtype=torch.float32))
        for name, value in objective.values.items():
            terms.setdefault(name, []).append(value)
    if clip > 0 or state.velocity is not None:
        scaler.unscale_(optimizer)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if clip > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    taken = Taken(
        loss=torch.stack(seen).mean(),
        terms={name: torch.stack(values).mean() for name, values in terms.items()},
        logits=torch.stack(sums).sum(),
        norm=torch.zeros_like(norm) if scaler.is_enabled() else norm,
    )
    if arithmetic.device.type == "cpu" and (what := broken(taken)):
        return replace(taken, broken=what)
    if state.velocity is not None:
        inertia = objective.of_update(losses.Context(velocity=state.velocity.pairs))
        if inertia is not None:
            torch.autograd.backward(inertia)
            taken.terms.update(objective.values)
    _step(state)
    return taken


def broken(taken: Taken) -> str | None:
    """What of an update was not finite first, in words; None where all was. Waits for the device."""
    terms = {name: float(value) for name, value in taken.terms.items()}
    return first_broken(float(taken.loss), terms, float(taken.logits), float(taken.norm))


def _step(state: State) -> None:
    """Move the weights, and what follows them, unless float16 overflowed."""
    gradients = None if state.velocity is None else state.velocity.measure(state.optimizer)
    scale = state.scaler.get_scale()
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.step += 1
    if state.scaler.get_scale() < scale:  # the scaler says in no other way that it left the step out
        state.skipped += 1
        state.skipped_in_a_row += 1
        if state.skipped_in_a_row >= _SKIPS:
            raise ModelError(
                "gradients that float16 can hold",
                f"infinite ones in {_SKIPS} updates in a row, up to step {state.step}, though the loss was scaled down "
                f"to {state.scaler.get_scale():.1g} of itself",
                "Lower --lr, or train with --set amp=bf16 or amp=fp32; the checkpoints are from before.",
            )
        return
    state.skipped_in_a_row = 0
    if state.velocity is not None and gradients is not None:
        state.velocity.take(gradients)
    if state.average is not None:
        state.average.update(state.network)


def compute_loss(
    network: SegmentationNet,
    objective: losses.CombinedLoss,
    arithmetic: Arithmetic,
    images: Tensor,
    targets: Tensor,
    step: int,
    teacher: nn.Module | None = None,
    average: nn.Module | None = None,
    auxiliary: AuxHead | None = None,
    progress: float | None = None,
) -> Tensor:
    """The scalar loss of one batch, with its graph, momentum terms left out.

    Args:
        network: (B, 3, h, w) uint8 -> (B, K, h, w) logits.
        objective: reads the logits of teacher and average where a term needs them; otherwise those are not run.
        arithmetic: device, on which all of them lie, and precision.
        images: (B, 3, h, w) uint8.
        targets: (B, h, w) int64.
        step: updates done so far.
        teacher: a network of the same classes, in eval mode.
        average: the running average of `network`, in eval mode.
        auxiliary: a head for the encoder of `network`.
        progress: share of the run that is done.
    """
    return _batch_loss(
        network, objective, arithmetic, images, targets, step, teacher, average, auxiliary, progress, plain
    )[0]


def _batch_loss(
    network: SegmentationNet,
    objective: losses.CombinedLoss,
    arithmetic: Arithmetic,
    images: Tensor,
    targets: Tensor,
    step: int,
    teacher: nn.Module | None,
    average: nn.Module | None,
    auxiliary: AuxHead | None,
    progress: float | None,
    forward: Forward,
) -> tuple[Tensor, Tensor]:
    """As `compute_loss`, and the logits (B, K, h, w)."""
    device, half = arithmetic.device, arithmetic.half
    with torch.autocast(device.type, dtype=half, enabled=half is not None):
        logits, early = forward(network, auxiliary, images)
        context = losses.Context(
            network=network,
            teacher_logits=_answer(teacher, images) if "teacher_logits" in objective.needs else None,
            average_logits=_answer(average, images) if "average_logits" in objective.needs else None,
            aux_logits=early,
            step=step,
            progress=progress,
        )
        return objective.of_batch(logits, targets, context), logits


def _answer(network: nn.Module | None, images: Tensor) -> Tensor | None:
    if network is None:
        return None
    with torch.no_grad():
        answer: Tensor = network(images)  # (B, K, h, w)
    return answer


def descend(
    loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, clip: float
) -> None:
    """Gradient of one loss, clipped to the norm `clip` unless that is 0, and one step of the optimizer, in loops that
    keep no `State`."""
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(scaler.scale(loss))
    if clip > 0:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
    scaler.step(optimizer)
    scaler.update()
