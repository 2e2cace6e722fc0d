"""Gives a network's layers the widths of a set of weights: how a pruned network is rebuilt from its checkpoint.

The shapes of the weights say everything, so nothing else need be stored. Which channels go is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd


def take_widths(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Resize every layer, in place, to the shapes in `state`; values are to be loaded afterwards.

    Convolutions (plain and depthwise), linear layers and the usual normalisations can change their widths.

    Raises:
        ValueError: another kind of layer has another shape in `state`.
    """
    for name, module in network.named_modules():
        prefix = f"{name}." if name else ""
        tensors = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        changed = {
            key: state[prefix + key].shape
            for key, tensor in tensors.items()
            if prefix + key in state and state[prefix + key].shape != tensor.shape
        }
        if changed:
            _resize(module, changed, name)


def _resize(module: nn.Module, shapes: dict[str, torch.Size], name: str) -> None:
    width = next(iter(shapes.values()))[0]
    match module:
        case _ConvNd():
            if module.transposed or module.groups not in (1, module.out_channels):
                raise ValueError(f"{name}: a grouped or transposed convolution keeps its width")
            outputs, inputs = shapes.get("weight", module.weight.shape)[:2]
            depthwise = module.groups > 1
            module.out_channels, module.in_channels = outputs, outputs if depthwise else inputs
            module.groups = outputs if depthwise else 1
        case nn.Linear():
            module.out_features, module.in_features = shapes.get("weight", module.weight.shape)
        case _BatchNorm():
            module.num_features = width
        case nn.LayerNorm():
            module.normalized_shape = (width,)
        case nn.GroupNorm():
            if width % module.num_groups:
                raise ValueError(f"{name}: {width} channels are no multiple of its {module.num_groups} groups")
            module.num_channels = width
        case _:
            raise ValueError(f"{name}: a {type(module).__name__} keeps its shape")
    for key, shape in shapes.items():
        old = cast(Tensor, getattr(module, key))
        fresh = torch.empty(shape, dtype=old.dtype, device=old.device)
        if key in module._parameters:
            setattr(module, key, nn.Parameter(fresh, requires_grad=old.requires_grad))
        else:
            setattr(module, key, fresh)
