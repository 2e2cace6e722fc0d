"""Trains a network to bear int8: every step computes as the quantized file will, and learns in float.

The grids are those of quantize.py: weights signed with 7 bits and one scale an output channel, inputs of convolutions
and linear layers unsigned with 8 bits and one range a tensor. BatchNorm is frozen: folded into the weights it only
multiplies output channels, and a scale a channel follows that exactly, so nothing need be folded here. What comes out
are float weights; export calibrates and quantizes them as any others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from segx_export.prune_groups import depthwise

_WEIGHT_LIMIT = 64  # of 7 bits, as ONNX Runtime's reduced range has it
_MOMENTUM = 0.05  # of a new batch in the moving range of an input


class WeightGrid(nn.Module):
    """A weight rounded to its int8 grid; the gradient passes straight through."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape -> the same, each output channel on 129 equal steps from -max|w| to max|w|."""
        others = [axis for axis in range(weight.ndim) if axis != self.axis]
        largest = weight.detach().abs().amax(dim=others)
        scale = (largest / _WEIGHT_LIMIT).clamp(min=torch.finfo(torch.float32).tiny)
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zeros, self.axis, -_WEIGHT_LIMIT, _WEIGHT_LIMIT)


class InputGrid:
    """A forward pre-hook: a layer's input on 256 steps over a range that follows the batches, 0 always in it."""

    def __init__(self) -> None:
        self.low: Tensor | None = None
        self.high: Tensor | None = None
        self.observing = True
        """False: the range stays as it is."""

    def __call__(self, module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Replace the first input; the gradient passes where the range was not left."""
        value = cast(Tensor, given[0])
        if self.observing or self.low is None:
            self._follow(value.detach())
        assert self.low is not None and self.high is not None  # noqa: PT018  # for the type checker
        scale = ((self.high - self.low) / 255).clamp(min=torch.finfo(torch.float32).tiny)
        zero = (-self.low / scale).round().clamp(0, 255).to(torch.int32)
        return (torch.fake_quantize_per_tensor_affine(value, scale, zero, 0, 255), *given[1:])

    def _follow(self, value: Tensor) -> None:
        low, high = value.amin().clamp(max=0).float(), value.amax().clamp(min=0).float()
        if self.low is None or self.high is None:
            self.low, self.high = low, high
        else:
            self.low = torch.lerp(self.low, low, _MOMENTUM)
            self.high = torch.lerp(self.high, high, _MOMENTUM)


@contextmanager
def quantization_simulated(network: nn.Module) -> Iterator[list[InputGrid]]:
    """Within it `network` computes on int8 grids; afterwards it is a float network again, with what it learnt.

    Yields the grids of the inputs.
    """
    layers = [module for module in network.modules() if isinstance(module, (_ConvNd, nn.Linear))]
    grids: list[InputGrid] = []
    hooks = []
    try:
        for layer in layers:
            parametrize.register_parametrization(layer, "weight", WeightGrid(_output_axis(layer)), unsafe=True)
            grid = InputGrid()
            grids.append(grid)
            hooks.append(layer.register_forward_pre_hook(grid))
        yield grids
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            if parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def _output_axis(layer: nn.Module) -> int:
    return 1 if isinstance(layer, _ConvNd) and layer.transposed and not depthwise(layer) else 0
