"""A hub's network behind the contract of segx's own: raw uint8 pictures in, full-size logits out, and its card.

Normalisation, padding to the multiple and upsampling happen inside. Where networks and their facts come from is in a
file per hub.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from segx_core.card import Card, InputSpec, Normalisation, Origin, OutputSpec, SizeRule
from segx_core.palette import default_palette

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Found:
    """What a hub has to say about one network."""

    body: nn.Module
    """(B, 3, h, w) float, normalised -> (B, K, h', w') logits at any stride, or scores that grow with likelihood."""
    name: str
    classes: tuple[str, ...]
    normalisation: Normalisation
    """In RGB order."""
    origin: Origin
    palette: tuple[Color, ...] | None = None
    """None: colours are made up."""
    size_multiple: int = 1
    fixed_size: tuple[int, int] | None = None
    """(height, width) of a network that takes one size only."""

    def card(self) -> Card:
        """The card of the network in torch; the deploy form's is made of it."""
        labels = distinct(self.classes)
        rows, columns = self.fixed_size or ("H", "W")
        image = InputSpec(name="image", shape=("N", 3, rows, columns), layout="NCHW", normalisation=self.normalisation)
        logits = OutputSpec(
            name="logits", kind="logits", dtype="float32", shape=("N", len(labels), rows, columns), layout="NCHW"
        )
        fixed = self.fixed_size
        return Card(
            name=self.name,
            classes=labels,
            palette=self.palette or default_palette(len(labels)),
            ignore_index=255 if len(labels) <= 255 else 65535,
            inputs=(image,),
            outputs=(logits,),
            size=SizeRule(kind="fixed", height=fixed[0], width=fixed[1]) if fixed else SizeRule(),
            origin=self.origin,
        )


class HubNet(nn.Module):
    """A found network with its preprocessing and its upsampling inside; the contract of SegmentationNet.

    Attributes:
        num_classes: K.
        size_multiple: sides are padded to a multiple of this, and the logits cropped back.
        fixed_size: (height, width) of a network that takes one size only, else None.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, found: Found) -> None:
        super().__init__()
        self.body = found.body
        self.num_classes = len(found.classes)
        self.size_multiple = found.size_multiple
        self.fixed_size = found.fixed_size
        rule = found.normalisation
        self.register_buffer("mean", torch.tensor(rule.mean).view(1, 3, 1, 1) * rule.scale)
        self.register_buffer("std", torch.tensor(rule.std).view(1, 3, 1, 1) * rule.scale)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 RGB -> (B, K, H, W) float logits; any H and W unless the size is fixed."""
        height, width = image.shape[-2:]
        scaled = (image.float() - self.mean) / self.std
        # Zero after normalisation is the mean colour; only the right and the bottom grow, so pixels keep their place.
        below, right = -height % self.size_multiple, -width % self.size_multiple
        padded = functional.pad(scaled, (0, right, 0, below))
        logits = functional.interpolate(self.body(padded), size=padded.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names with a number after those that stand there more than once; cards want them all different."""
    seen: Counter[str] = Counter()
    taken = set(names)
    made = []
    for name in names:
        seen[name] += 1
        label = name
        while seen[name] > 1 and label in taken:
            label = f"{name} {seen[name]}"
            seen[name] += label in taken
        taken.add(label)
        made.append(label)
    return tuple(made)
