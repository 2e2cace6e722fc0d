"""How much each channel matters: what the loss would gain from nobody reading it, or the scale of its BatchNorm.

It removes nothing. Higher is more important; scores of different groups can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segx_core.errors import ConfigError
from segx_export.prune_groups import ChannelGroup, Slot
from segx_trainer.networks import SegmentationNet

Importance = Literal["taylor", "bn"]

Batch = tuple[Tensor, Tensor]
"""(B, 3, h, w) uint8 and (B, h, w) int64."""


def taylor(
    network: SegmentationNet,
    groups: Sequence[ChannelGroup],
    batches: Iterable[Batch],
    loss_of: Callable[[SegmentationNet, Batch], Tensor],
) -> list[Tensor]:
    """First-order estimate of how the loss changes without a channel (Molchanov et al. 2019, arXiv:1906.10771).

    A factor of 1 at the channel's output has the gradient sum(weight * gradient of weight) over all weights that read
    it; its square, averaged over batches, is the score. So it needs no BatchNorm, and channels that several layers
    share are scored by all of them together.

    Args:
        network: in eval mode, so that BatchNorm is the fixed factor it will be in use.
        groups: from find_groups.
        batches: training batches, at least one.
        loss_of: scalar loss of a batch, with its graph.

    Returns:
        (channels,) float64 scores of each group, on the CPU.
    """
    scores = [torch.zeros(group.channels, dtype=torch.float64) for group in groups]
    readers = [group.readers(network) for group in groups]
    count = 0
    for batch in batches:
        network.zero_grad(set_to_none=True)
        torch.autograd.backward(loss_of(network, batch))
        products = {slot.layer: _products(network.get_submodule(slot.layer)) for slots in readers for slot in slots}
        for score, slots in zip(scores, readers, strict=True):
            gate = torch.zeros_like(score)
            for slot in slots:
                _add(gate, slot, products[slot.layer])
            score += gate**2
        count += 1
    assert count
    network.zero_grad(set_to_none=True)
    return [score / count for score in scores]


def _products(module: nn.Module) -> Tensor:
    """(inputs,) float64: weight times gradient, summed over everything that belongs to one input channel."""
    weight = cast(Tensor, module.weight)
    if weight.grad is None:  # the loss does not depend on it
        return torch.zeros(weight.shape[1], dtype=torch.float64)
    product = (weight.detach() * weight.grad).transpose(0, 1).flatten(1)
    return product.sum(1, dtype=torch.float64).cpu()


def batch_norm_scale(network: SegmentationNet, groups: Sequence[ChannelGroup]) -> list[Tensor | None]:
    """|scale| of the BatchNorm behind each channel, mean over those that share it (Liu et al. 2017, arXiv:1708.06519).

    Returns:
        (channels,) float64 of each group, on the CPU; None for a group without BatchNorm.

    Raises:
        ConfigError: no group has one.
    """
    found = [_scale(network, group) for group in groups]
    if all(score is None for score in found):
        raise ConfigError("BatchNorms for importance 'bn'", "a network without any", "Use importance 'taylor'.")
    return found


def _scale(network: SegmentationNet, group: ChannelGroup) -> Tensor | None:
    total, norms = torch.zeros(group.channels, dtype=torch.float64), 0
    for slot in group.slots:
        module = network.get_submodule(slot.layer)
        if isinstance(module, _BatchNorm) and module.affine:
            _add(total, slot, module.weight.detach().double().abs().cpu())
            norms += 1
    return total / norms if norms else None


def _add(scores: Tensor, slot: Slot, values: Tensor) -> None:
    """Add the slot's `values` (by position) to `scores` (by channel of the group)."""
    scores.index_add_(0, torch.tensor(slot.roots), values[torch.tensor(slot.positions)])
