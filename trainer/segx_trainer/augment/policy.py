"""What augmentation does, as one frozen record with a YAML form; the presets are such records.

The order of the steps is fixed: window, flips, warp, the mixes, colour, blur, noise, JPEG, erasing. Knows no pixels:
what each record does to them is in the neighbours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from segx_core.errors import ConfigError, near
from segx_core.validation import explain

Preset = Literal["none", "light", "strong"]
PRESETS: tuple[Preset, ...] = ("none", "light", "strong")
Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for key, value in self:
            numbers = (
                isinstance(value, tuple) and len(value) == 2 and all(isinstance(one, int | float) for one in value)
            )
            if numbers and value[0] > value[1]:
                raise ValueError(f"{key} is a range, the smaller number first, not {list(value)}")
        return self


class Warp(_Record):
    """A small rotation and shear about the middle; what comes in from outside is ignored in the labels."""

    p: Probability = 0.3
    degrees: float = Field(default=10.0, ge=0, le=180)
    """Largest turn, either way."""
    shear: float = Field(default=0.0, ge=0, le=45)
    """Largest slant along the rows, in degrees, either way."""


class CutMix(_Record):
    """A rectangle of another training picture, with its labels, at its own place (arXiv:1905.04899)."""

    p: Probability = 0.5
    area: tuple[Share, Share] = (0.1, 0.5)
    """Share of the picture that the rectangle covers."""


class ClassMix(_Record):
    """All pixels of half of the classes of another training picture, at their own place (arXiv:2007.07936)."""

    p: Probability = 0.3


class Mosaic(_Record):
    """Four training pictures, each keeping its own part, about a point in the middle half (arXiv:2004.10934)."""

    p: Probability = 0.3


class CopyPaste(_Record):
    """Connected objects of rare classes, cut out of other training pictures (arXiv:2012.07177)."""

    p: Probability = 0.5
    classes: Literal["rare"] | Annotated[tuple[str, ...], Field(min_length=1)] = "rare"
    """Names, or `rare`: every class with less than a quarter of its even share of the labelled pixels."""
    count: int = Field(default=3, ge=1)
    """Objects at most; from one up are drawn."""
    scale: tuple[Positive, Positive] = (0.7, 1.5)
    """Range of the objects' zoom."""
    shift: float = Field(default=0.1, ge=0, le=1)
    """Largest way from the object's own place, as a share of height and width; 0 pastes it where it was."""
    smallest: int = Field(default=64, ge=1)
    """Pixels under which a connected part is no object."""


class Color(_Record):
    """Brightness, contrast, saturation and hue as one matrix, then gamma. A strength of 0 leaves a property alone."""

    p: Probability = 1.0
    brightness: Strength = 0.0
    """Factor drawn from 1 - value to 1 + value; so are contrast and saturation."""
    contrast: Strength = 0.0
    saturation: Strength = 0.0
    hue: float = Field(default=0.0, ge=0, le=0.5)
    """Largest turn of the colour circle, either way, as a share of it."""
    gamma: tuple[Positive, Positive] = (1.0, 1.0)
    gray: Probability = 0.0
    """Probability that the picture loses its colours."""


class Blur(_Record):
    """A Gaussian blur."""

    p: Probability = 0.2
    sigma: tuple[Positive, Positive] = (0.1, 1.5)
    """In pixels."""


class Noise(_Record):
    """Gaussian noise, independent in every pixel and channel."""

    p: Probability = 0.2
    sigma: tuple[Positive, Positive] = (2.0, 12.0)
    """In grey levels of 255."""


class Jpeg(_Record):
    """JPEG artefacts."""

    p: Probability = 0.2
    quality: tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]] = (40, 95)


class Erase(_Record):
    """Rectangles of one random colour (arXiv:1708.04896)."""

    p: Probability = 0.3
    count: int = Field(default=1, ge=1)
    """Rectangles at most; from one up are drawn."""
    area: tuple[Share, Share] = (0.01, 0.08)
    """Share of the picture that one covers."""
    labels: Literal["ignore", "keep"] = "ignore"
    """What becomes of the labels below: not learnt, or to be guessed from what is around (cutout)."""


class Policy(_Record):
    """All of augmentation. A step that is left out, or null, is not done."""

    scale: tuple[Positive, Positive] = (1.0, 1.0)
    """Range of the random zoom, drawn log-uniformly."""
    aspect: float = Field(default=1.0, ge=1, le=4)
    """Largest factor by which a picture is drawn out along one side, log-uniform."""
    flip: Probability = 0.0
    """Of a mirror image, left for right."""
    vertical_flip: Probability = 0.0
    swap: tuple[tuple[str, str], ...] = ()
    """Pairs of class names that a mirror, either way, turns into each other: [[left_arm, right_arm]]."""
    warp: Warp | None = None
    copy_paste: CopyPaste | None = None
    mosaic: Mosaic | None = None
    cutmix: CutMix | None = None
    classmix: ClassMix | None = None
    color: Color | None = None
    blur: Blur | None = None
    noise: Noise | None = None
    jpeg: Jpeg | None = None
    erase: Erase | None = None

    @model_validator(mode="after")
    def _swaps_make_sense(self) -> Self:
        names = [name for pair in self.swap for name in pair]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"a class stands in one pair of swap, and '{twice[0]}' stands there more often")
        if self.swap and not self.flip and not self.vertical_flip:
            raise ValueError("swap needs flip or vertical_flip above 0; without mirrors nothing is swapped")
        return self


def named(name: Preset) -> Policy:
    """The policy of a preset."""
    match name:
        case "none":
            return Policy()
        case "light":
            color = Color(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02)
            return Policy(scale=(0.6, 1.8), flip=0.5, color=color)
        case "strong":
            return Policy(
                scale=(0.5, 2.0),
                aspect=1.15,
                flip=0.5,
                warp=Warp(p=0.3, degrees=8, shear=4),
                copy_paste=CopyPaste(p=0.4),
                cutmix=CutMix(p=0.3),
                classmix=ClassMix(p=0.2),
                color=Color(p=0.9, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.05, gamma=(0.7, 1.4), gray=0.05),
                blur=Blur(p=0.2),
                noise=Noise(p=0.2),
                jpeg=Jpeg(p=0.15),
            )


def load(value: str | dict[str, Any] | Policy) -> Preset | Policy:
    """A preset's name, a YAML file's path, a mapping as such a file holds it, or a policy -> preset name or policy.

    Raises:
        ConfigError: no preset and no readable file of that name, or a file with unknown keys or impossible values.
    """
    if isinstance(value, Policy):
        return value
    for name in PRESETS:
        if value == name:
            return name
    if isinstance(value, dict):
        return _validated(value, "the policy of augmentation")
    path = Path(str(value))
    if not path.is_file():
        advice = near(str(value), PRESETS) if path.suffix == "" else "Check the path."
        raise ConfigError("none, light, strong or a policy file for augment", f"'{value}'", advice)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError("a readable YAML policy", f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"keys and values in {path}", type(content).__name__, "An empty policy is `{}`.")
    return _validated(content, str(path))


def to_yaml(policy: Policy) -> str:
    """The policy as a file that `load` reads back; steps that are not done are left out."""
    return yaml.safe_dump(policy.model_dump(mode="json", exclude_none=True), sort_keys=False, default_flow_style=None)


def _validated(content: dict[str, Any], source: str) -> Policy:
    try:
        return Policy.model_validate(content)
    except ValidationError as error:
        raise explain(error, Policy, source, ConfigError) from None
