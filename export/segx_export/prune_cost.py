"""What layers cost: multiply-adds, and an estimate of time that counts moved values too.

Convolutions and linear layers are counted, at one picture of a given size. The products inside attention and everything
pointwise are not: removing channels of a ChannelGroup leaves the first as they are, and the second weigh little.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from segx_export.prune_groups import ChannelGroup, Side, depthwise
from segx_trainer.networks import SegmentationNet

_PER_VALUE = 8.0
"""Multiply-adds that take the time of one value read or written: so ONNX Runtime 1.31 took it on an AVX2 CPU. It is
little: whatever the layer of a U-Net on ResNet-18, its time was nearly that of its multiply-adds, 22 G a second."""


@dataclass(frozen=True)
class LayerCost:
    """One convolution or linear layer at one picture; widths are asked for, because they are what changes."""

    inputs: int
    outputs: int
    kernel: int
    """Weights of one input and one output channel."""
    read: int
    """Positions read (pixels or tokens) of every input channel."""
    written: int
    """Positions written of every output channel."""
    depthwise: bool

    def macs(self, inputs: int, outputs: int) -> int:
        """Multiply-adds at these widths."""
        return self.written * self.kernel * (outputs if self.depthwise else inputs * outputs)

    def time(self, inputs: int, outputs: int) -> float:
        """The same plus what reading and writing takes, in multiply-adds."""
        return self.macs(inputs, outputs) + _PER_VALUE * (self.read * inputs + self.written * outputs)


def layer_costs(network: SegmentationNet, size: tuple[int, int]) -> dict[str, LayerCost]:
    """Costs by layer, for one picture of (height, width) `size`."""
    found: dict[str, LayerCost] = {}
    names = {module: name for name, module in network.named_modules()}

    def note(module: nn.Module, given: Any, result: Any) -> None:
        weight = cast(Tensor, module.weight)
        inputs, outputs = given[0].shape[_axis(module)], result.shape[_axis(module)]
        found[names[module]] = LayerCost(
            inputs=inputs,
            outputs=outputs,
            kernel=prod(weight.shape[2:]),
            read=given[0].numel() // inputs,
            written=result.numel() // outputs,
            depthwise=depthwise(module),
        )

    hooks = [
        module.register_forward_hook(note) for module in network.modules() if isinstance(module, (_ConvNd, nn.Linear))
    ]
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros((1, 3, *size), dtype=torch.uint8, device=network.mean.device))
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    return found


def _axis(module: nn.Module) -> int:
    return 1 if isinstance(module, _ConvNd) else -1


def count_macs(network: SegmentationNet, size: tuple[int, int]) -> int:
    """Multiply-adds of one picture of (height, width) `size`."""
    return sum(cost.macs(cost.inputs, cost.outputs) for cost in layer_costs(network, size).values())


class Widths:
    """The widths layers would have, and what the whole would cost, while channels are chosen block after block."""

    def __init__(self, costs: dict[str, LayerCost]) -> None:
        self._costs = costs
        self._widths = {name: (cost.inputs, cost.outputs) for name, cost in costs.items()}
        self.macs = sum(cost.macs(cost.inputs, cost.outputs) for cost in costs.values())

    def saving(self, group: ChannelGroup, channels: list[int]) -> tuple[int, float]:
        """Multiply-adds and time that removing `channels` of `group` would save now."""
        macs, time = 0, 0.0
        for name, (inputs, outputs) in self._after(group, channels).items():
            cost, now = self._costs[name], self._widths[name]
            macs += cost.macs(*now) - cost.macs(inputs, outputs)
            time += cost.time(*now) - cost.time(inputs, outputs)
        return macs, time

    def remove(self, group: ChannelGroup, channels: list[int]) -> None:
        """Count them as removed."""
        self.macs -= self.saving(group, channels)[0]
        self._widths |= self._after(group, channels)

    def _after(self, group: ChannelGroup, channels: list[int]) -> dict[str, tuple[int, int]]:
        gone: dict[str, dict[Side, int]] = {}
        for slot in group.slots:
            if slot.layer in self._costs:
                gone.setdefault(slot.layer, {})[slot.side] = len(slot.at(channels))
        after = {}
        for name, sides in gone.items():
            inputs, outputs = self._widths[name]
            if self._costs[name].depthwise:
                both = max(sides.values())
                after[name] = inputs - both, outputs - both
            else:
                after[name] = inputs - sides.get("in", 0), outputs - sides.get("out", 0)
        return after
