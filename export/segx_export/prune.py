"""Chooses the channels that go: least important first for the time they take, until enough multiply-adds are gone.

Pruning alone ruins a network; prune_run.py trains it again between and after several of these cuts.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from torch import Tensor

from segx_core.errors import ConfigError
from segx_export.prune_cost import Widths, count_macs, layer_costs
from segx_export.prune_groups import MULTIPLE, ChannelGroup, channels_of_parts, cut
from segx_trainer.networks import SegmentationNet

_LEAST_SHARE = 0.25  # of a group's first channels stay in any case: scores do not add up when most of a layer goes


def prune(
    network: SegmentationNet,
    groups: Sequence[ChannelGroup],
    scores: Sequence[Tensor | None],
    macs: int,
    size: tuple[int, int],
    unpruned: SegmentationNet | None = None,
) -> int:
    """Remove channels, in place, until at most `macs` multiply-adds are left.

    Args:
        network: to be cut.
        groups: its own, from find_groups; of no use afterwards.
        scores: (channels,) importance of each group, None for one that must stay.
        macs: at one picture of `size`.
        size: (height, width).
        unpruned: the network as it was before the first of several cuts, whose widths say how narrow a layer may get;
            None where this is the first.

    Returns:
        The multiply-adds left.

    Raises:
        ConfigError: so much cannot go.
    """
    widths = Widths(layer_costs(network, size))
    before = widths.macs
    first = network if unpruned is None else unpruned
    least = [_least(group, first) for group in groups]
    order = {
        index: _in_order(group, score)
        for index, (group, score) in enumerate(zip(groups, scores, strict=True))
        if score is not None
    }
    gone: dict[int, list[int]] = {index: [] for index in order}
    queue: list[tuple[float, int]] = []

    def block(index: int) -> list[int]:
        """The next channels of a group to go, or none where it is as narrow as it may be."""
        group = groups[index]
        left = order[index][len(gone[index]) :]
        # A width that is no multiple becomes one with the first block.
        rest = len(left) % group.block if group.parts == 1 else 0
        count = rest or group.block
        return left[:count] if len(left) - count >= least[index] else []

    def price(index: int) -> float:
        """Importance lost for each unit of time saved by the next block."""
        channels = block(index)
        score = scores[index]
        assert score is not None
        return float(score[channels].sum()) / max(1.0, widths.saving(groups[index], channels)[1])

    for index in order:
        if block(index):
            heapq.heappush(queue, (price(index), index))
    while widths.macs > macs:
        if not queue:
            left = widths.macs / before
            raise ConfigError(
                f"channels to remove until {macs / before:.0%} of the multiply-adds are left",
                f"none that may go below {left:.0%}",
                f"Prune less, at most {1 - left:.2f}: attention, grouped convolutions and a share of every layer stay.",
            )
        known, index = heapq.heappop(queue)
        now = price(index)
        if now > known * (1 + 1e-9) and queue and now > queue[0][0]:
            heapq.heappush(queue, (now, index))  # what it saves fell since, because its neighbours became narrower
            continue
        channels = block(index)
        widths.remove(groups[index], channels)
        gone[index] += channels
        if block(index):
            heapq.heappush(queue, (price(index), index))
    cut(network, [(groups[index], channels) for index, channels in gone.items() if channels])
    return count_macs(network, size)


def _least(group: ChannelGroup, first: SegmentationNet) -> int:
    """Channels of a group that stay, whatever they score."""
    weight = first.get_submodule(group.name).weight
    assert isinstance(weight, Tensor)
    return max(MULTIPLE, group.parts, round(weight.shape[0] * _LEAST_SHARE))


def _in_order(group: ChannelGroup, score: Tensor) -> list[int]:
    """Channels, least important first, dealt out so that every block takes the same number from every part."""
    ranked = score.argsort(stable=True).tolist()
    if group.parts == 1:
        return ranked
    size = group.channels // group.parts
    rounds = [channels_of_parts(group, ranked, each) for each in range(1, size + 1)]
    done: set[int] = set()
    dealt = []
    for chosen in rounds:
        dealt += [channel for channel in chosen if channel not in done]
        done |= set(chosen)
    return dealt
