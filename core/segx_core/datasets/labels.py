"""Labels: what the masks of a data set mean, whoever said so. Holds the answer; finding it is up to others."""

from __future__ import annotations

from dataclasses import dataclass, field

from segx_core.datasets.masks import Color, MaskEncoding


@dataclass(frozen=True)
class Labels:
    """Classes, their colours, the ignored value, and how masks store them."""

    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    ignore_index: int = 255
    encoding: MaskEncoding = field(default_factory=MaskEncoding)
    notes: tuple[str, ...] = ()
    inferred: bool = False
    """True: read off the masks, not declared by anyone."""


def free_ignore(num_classes: int) -> int:
    """The usual ignore index that is no class: 255, past 255 classes 65535."""
    return 255 if num_classes <= 255 else 65535
