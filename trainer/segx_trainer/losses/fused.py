"""Sums over pixels of softmax(logits), a few thousand pixels at a time, with the gradient written by hand.

No tensor of the logits' size is made in the forward pass and one in the backward pass: the gradient itself. It knows
hard targets only, and no loss: those are functions of the few sums it returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CACHED = 1 << 16
"""Logits a chunk on the CPU: two buffers of that many stay in the cache of one core."""
LAUNCHED = 1 << 24
"""Logits a chunk elsewhere, where starting a computation costs more than memory traffic."""


def class_sums(
    logits: Tensor, target: Tensor, ignore_index: int, spread: bool, region: bool
) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """Sums over the valid pixels, with q = softmax(logits) and y the label; differentiable once.

    Args:
        logits: (B, K, H, W) float; half precision is computed in float32.
        target: (B, H, W) int64.
        ignore_index: label of pixels that count for nothing.
        spread: whether the sums of -log q_c are wanted.
        region: whether the sums of q_c are wanted.

    Returns:
        (K,) float64 each: sum over pixels of class c of -log q_c; over all pixels of -log q_c, or None; over pixels of
        class c of q_c; over all pixels of q_c, or None.
    """
    sums: tuple[Tensor, Tensor | None, Tensor, Tensor | None]
    with torch.autocast(logits.device.type, enabled=False):  # which would multiply in half precision
        sums = ClassSums.apply(logits, target, ignore_index, spread, region)
    return sums


class ClassSums(torch.autograd.Function):
    """What `class_sums` calls: a forward and a backward pass in chunks."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, target: Tensor, ignore_index: int, spread: bool, region: bool
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        """See `class_sums`."""
        logits, classes = _flattenable(logits.detach()), logits.shape[1]
        valid = target != ignore_index
        labels = target.masked_fill(~valid, 0).flatten(1)  # (B, H*W)
        valid = valid.flatten(1)
        normalizer = torch.empty(
            labels.shape, dtype=_working(logits), device=logits.device
        )  # log sum exp; inf: ignored
        zero = torch.zeros(classes, dtype=torch.float64, device=logits.device)
        nll, overlap, guess, spreads = zero, zero.clone(), zero.clone(), zero.clone()
        for picture, part, work, offsets in _chunks(logits):
            label, counts = labels[picture, part], valid[picture, part].to(work.dtype)
            work.copy_(logits[picture].flatten(1)[:, part])
            largest = work.amax(0)
            work.sub_(largest)
            raw = work @ counts if spread else None
            own = work.view(-1).index_select(0, torch.add(offsets, label, alpha=work.shape[1]))
            total = work.exp_().sum(0)
            log_total = total.log()
            cost = (log_total - own) * counts
            nll.index_add_(0, label, cost.double())
            overlap.index_add_(0, label, ((own - log_total).exp() * counts).double())
            if region:
                guess += work @ (counts / total)
            if raw is not None:
                spreads += (log_total * counts).sum() - raw
            normalizer[picture, part] = log_total.add_(largest).masked_fill_(counts == 0, torch.inf)
        ctx.save_for_backward(logits, labels, normalizer)
        ctx.set_materialize_grads(False)
        return nll, spreads if spread else None, overlap, guess if region else None

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, None, None, None, None]:
        """Chunk by chunk the softmax again, and from it the gradient, straight into its place."""
        with torch.autocast(ctx.saved_tensors[0].device.type, enabled=False):
            return _gradient(ctx.saved_tensors, grads), None, None, None, None


def _gradient(saved: tuple[Tensor, Tensor, Tensor], grads: tuple[Tensor | None, ...]) -> Tensor:
    """Of the logits, from the gradients of the four sums."""
    logits, labels, normalizer = saved
    on_nll, on_spread, on_overlap, on_guess = (None if grad is None else grad.to(normalizer.dtype) for grad in grads)
    gradient = torch.empty_like(logits)
    for picture, part, work, offsets in _chunks(logits):
        label, log_total = labels[picture, part], normalizer[picture, part]
        work.copy_(logits[picture].flatten(1)[:, part]).sub_(log_total).exp_()  # softmax, and 0 where ignored
        places = torch.add(offsets, label, alpha=work.shape[1])
        # The gradient is q_k (guess_k - shared) - [k = y] extra - spread_k with q the softmax and y the label.
        shared, extra = torch.zeros_like(log_total), torch.zeros_like(log_total)
        counts = (log_total != torch.inf).to(work.dtype)
        if on_nll is not None:
            extra += on_nll[label] * counts
            shared -= on_nll[label]
        if on_overlap is not None:
            own = work.view(-1).index_select(0, places) * on_overlap[label]
            extra -= own
            shared += own
        if on_spread is not None:
            shared -= on_spread.sum()
        if on_guess is not None:
            shared += on_guess @ work
            work.mul_(on_guess.unsqueeze(1) - shared)
        else:
            work.mul_(shared.neg_())
        if on_spread is not None:
            work.addr_(on_spread, counts, alpha=-1)
        work.view(-1).index_add_(0, places, extra, alpha=-1)
        gradient[picture].flatten(1)[:, part] = work
    return gradient


def _working(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _flattenable(logits: Tensor) -> Tensor:
    """The logits in a layout whose pixels of one picture can be numbered without a copy."""
    dense = logits.is_contiguous() or logits.is_contiguous(memory_format=torch.channels_last)
    return logits if dense else logits.contiguous()


def _chunks(logits: Tensor) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """Picture, slice of its pixels, a (K, n) buffer to work in, and the pixels' numbers 0 ... n-1."""
    pictures, classes, pixels = logits.shape[0], logits.shape[1], logits.shape[2] * logits.shape[3]
    size = min(pixels, max(1, (CACHED if logits.device.type == "cpu" else LAUNCHED) // classes))
    room = torch.empty(classes * size, dtype=_working(logits), device=logits.device)
    numbers = torch.arange(size, device=logits.device)
    for picture in range(pictures):
        for start in range(0, pixels, size):
            count = min(size, pixels - start)
            yield picture, slice(start, start + count), room[: classes * count].view(classes, count), numbers[:count]
