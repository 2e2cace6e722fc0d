"""Which channels of a network belong together: removing one from a layer takes it from every layer that shares it.

torch-pruning traces the dependencies; here they become plain positions in plain tensors, and are tried: a group stays
only if the network without one of its channels computes what it computes when nobody reads that channel. What is worth
removing is decided elsewhere.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from segx_trainer.networks import SegmentationNet
from segx_trainer.widths import take_widths

MULTIPLE = 8
"""Widths are multiples of it: CPUs and GPUs compute in blocks, a width of 43 takes the time of 48."""

_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)

Side = Literal["in", "out"]
Sides = dict[tuple[str, Side], set[int]]


@dataclass(frozen=True)
class Slot:
    """One side of one layer: channel `roots[i]` of its group lies at `positions[i]` there."""

    layer: str
    side: Side
    positions: tuple[int, ...]
    roots: tuple[int, ...]

    def at(self, channels: Iterable[int]) -> set[int]:
        """Positions of the group's `channels` in this layer."""
        wanted = set(channels)
        return {position for position, root in zip(self.positions, self.roots, strict=True) if root in wanted}


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be removed from all of these layers at once."""

    name: str
    """Layer that makes them; of several the first."""
    channels: int
    slots: tuple[Slot, ...]
    parts: int = 1
    """Runs of equal length that must stay equally long, as GroupNorm wants its groups."""

    @property
    def block(self) -> int:
        """Channels to remove at once so that a width stays a multiple of MULTIPLE, and parts stay equal."""
        return self.parts if self.parts % MULTIPLE == 0 else MULTIPLE * self.parts

    def readers(self, network: nn.Module) -> list[Slot]:
        """Slots whose layers sum over these channels."""
        return [slot for slot in self.slots if slot.side == "in" and not depthwise(network.get_submodule(slot.layer))]


def depthwise(module: nn.Module) -> bool:
    """Whether a layer is a convolution of each channel by itself."""
    return isinstance(module, _ConvNd) and module.groups > 1 and module.groups == module.out_channels


def find_groups(network: SegmentationNet) -> list[ChannelGroup]:
    """Every group whose channels can go, tried one by one.

    Left out are the classes, what attention computes with (its heads are cut by reshaping), parameters outside of
    layers, grouped convolutions, and groups that fail when tried.

    Args:
        network: is left as it is.
    """
    example = _example(network)
    trial = copy.deepcopy(network).eval().requires_grad_(True)
    names = {module: name for name, module in trial.named_modules()}
    graph = torch_pruning.DependencyGraph()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters it found by itself; they are left alone below
        graph.build_dependency(trial, example_inputs=example, verbose=False)
        traced = list(graph.get_all_groups())
    barred = _attention(trial)
    groups = [group for items in traced if (group := _convert(items, graph, names, trial, barred)) is not None]
    with torch.inference_mode():
        return [group for group in groups if _works(network, group, example)]


def cut(network: SegmentationNet, removed: Sequence[tuple[ChannelGroup, Sequence[int]]]) -> None:
    """Remove channels of several groups at once, in place.

    Raises:
        ValueError: a layer cannot take that width.
    """
    gone: Sides = {}
    for group, channels in removed:
        for slot in group.slots:
            gone.setdefault((slot.layer, slot.side), set()).update(slot.at(channels))
    state = dict(network.state_dict())
    for (layer, side), positions in gone.items():
        module = network.get_submodule(layer)
        if depthwise(module) and side == "in":
            continue  # the same channels as its outputs, which are cut
        for key, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            axis = 0 if side == "out" else 1
            if tensor.ndim > axis and (side == "out" or key == "weight"):
                state[f"{layer}.{key}"] = _without(state[f"{layer}.{key}"], positions, axis)
    take_widths(network, state)
    network.load_state_dict(state)
    network.pruned = True


def _without(tensor: Tensor, positions: set[int], axis: int) -> Tensor:
    kept = [index for index in range(tensor.shape[axis]) if index not in positions]
    return tensor.index_select(axis, torch.tensor(kept, device=tensor.device))


def _example(network: SegmentationNet) -> Tensor:
    """(1, 3, h, w) uint8 noise; sides differ and are multiples, so that no padding hides a dependency."""
    generator = torch.Generator().manual_seed(0)
    side = max(network.size_multiple, 16)
    noise = torch.randint(0, 256, (1, 3, 2 * side, 3 * side), generator=generator, dtype=torch.uint8)
    return noise.to(network.mean.device)


def _attention(network: nn.Module) -> set[str]:
    """Names of the layers inside attention modules."""
    heads = [(name, module) for name, module in network.named_modules() if hasattr(module, "num_heads")]
    return {f"{name}.{inner}" if inner else name for name, module in heads for inner, _ in module.named_modules()}


def _convert(
    items: Any, graph: Any, names: dict[nn.Module, str], network: nn.Module, barred: set[str]
) -> ChannelGroup | None:
    """torch-pruning's group as a ChannelGroup; None where it must stay."""
    slots: list[Slot] = []
    parts = 1
    channels = len(items[0].idxs)
    for item in items:
        module = item.dep.target.module
        if isinstance(module, nn.Parameter) or type(module).__name__ == "_OutputOp":
            return None
        if module not in names:
            continue  # a concatenation, an addition: no weights
        outputs = graph.is_out_channel_pruning_fn(item.dep.handler)
        roots = tuple(item.root_idxs)
        whole = module.weight.shape[0] if outputs and getattr(module, "weight", None) is not None else None
        grouped = isinstance(module, _ConvNd) and module.groups > 1 and not depthwise(module)
        if names[module] in barred or grouped or any(root is None for root in roots):
            return None
        if whole is not None and whole != len(item.idxs):
            return None  # the rest of its channels belongs elsewhere; both could not be cut at once
        if isinstance(module, nn.GroupNorm):
            parts = max(parts, module.num_groups)
        side: Side = "out" if outputs or isinstance(module, _NORMS) else "in"
        slots.append(Slot(names[module], side, tuple(item.idxs), roots))
    group = ChannelGroup(str(names[items[0].dep.target.module]), channels, tuple(slots), parts)
    return group if group.readers(network) and channels > group.block else None


def _works(network: SegmentationNet, group: ChannelGroup, example: Tensor) -> bool:
    """Whether the network without some of the group's channels equals the network in which nobody reads them."""
    run = channels_of_parts(group, range(group.channels), max(1, group.block // group.parts))
    narrow, silent = copy.deepcopy(network).eval(), copy.deepcopy(network).eval()
    try:
        cut(narrow, [(group, run)])
        found = narrow(example)
    except (RuntimeError, ValueError, IndexError):  # a reshape with the old width inside, or an uncuttable layer
        return False
    for slot in group.readers(silent):
        weight = silent.get_submodule(slot.layer).weight
        assert isinstance(weight, Tensor)
        weight[:, sorted(slot.at(run))] = 0
    expected = silent(example)
    if found.shape != expected.shape:
        return False
    mixing = any(isinstance(network.get_submodule(slot.layer), (nn.LayerNorm, nn.GroupNorm)) for slot in group.slots)
    # Statistics over channels change when one goes, so there the two networks differ rightly.
    return mixing or torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def channels_of_parts(group: ChannelGroup, order: Iterable[int], each: int) -> list[int]:
    """The first `each` channels of every part, in the order given."""
    size = group.channels // group.parts
    taken = [0] * group.parts
    chosen = []
    for channel in order:
        part = channel // size
        if taken[part] < each:
            taken[part] += 1
            chosen.append(channel)
    return chosen
