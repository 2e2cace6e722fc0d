"""Other projects' names for an encoder's tensors, translated to timm's; and the input their weights expect.

One layout so far: that of efficientnet_pytorch and its descendants, in which EfficientNet's published TensorFlow
weights circulate. Works on names and tensors alone: it reads no files and knows no network classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and standard deviation of the channels, of pixel values scaled to 0-1."""

TENSORFLOW_EPSILON = 1e-3
"""What the TensorFlow networks add to a variance in batch normalisation."""
LITE_STATISTICS: Statistics = ((127 / 255,) * 3, (128 / 255,) * 3)
"""EfficientNet-Lite was trained on (pixel - 127) / 128."""

_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.(\d+)\.(\w+)")
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_SEPARABLE = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


def is_tensorflow_efficientnet(state: Iterable[str]) -> bool:
    """Whether the names are efficientnet_pytorch's."""
    names = set(state)
    return "_conv_stem.weight" in names and any(name.startswith("_blocks.0.") for name in names)


def is_lite(state: Iterable[str]) -> bool:
    """Whether they are those of an EfficientNet-Lite, which has no squeeze-and-excitation."""
    names = set(state)
    return is_tensorflow_efficientnet(names) and not any("._se_" in name for name in names)


def to_timm(state: Mapping[str, Tensor], wanted: Iterable[str], epsilon: float) -> dict[str, Tensor]:
    """Rename efficientnet_pytorch's tensors as timm names them.

    Blocks are numbered through there, and counted a stage here; `wanted` says how many each stage has. A name that
    finds no place stays as it is.

    Args:
        state: tensors by efficientnet_pytorch's names.
        wanted: names of timm's network of the same shape.
        epsilon: what that network adds to a variance. Running variances grow by the difference to TensorFlow's, so
            that in evaluation every normalisation computes what it did there.
    """
    parts: dict[tuple[int, int], set[str]] = {}
    for name in wanted:
        if found := _BLOCK.search(name):
            parts.setdefault((int(found[1]), int(found[2])), set()).add(found[3])
    order = sorted(parts)
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith("running_var"):
            value = value + (TENSORFLOW_EPSILON - epsilon)
        renamed[_translate(name, order, parts) or name] = value
    return renamed


def _translate(name: str, order: list[tuple[int, int]], parts: Mapping[tuple[int, int], set[str]]) -> str | None:
    first, _, rest = name.partition(".")
    if first != "_blocks":
        return f"{_OUTSIDE[first]}.{rest}" if first in _OUTSIDE else None
    number, layer, leaf = rest.split(".", 2)
    if int(number) >= len(order):
        return None
    stage, place = order[int(number)]
    words = _EXPANDED if "conv_pwl" in parts[stage, place] else _SEPARABLE
    return f"blocks.{stage}.{place}.{words[layer]}.{leaf}" if layer in words else None
