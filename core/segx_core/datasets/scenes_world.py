"""What stands in one generated scene: every layer, thing and lamp with its pose, its depth and its paint.

A `Scene` is a plain value, complete and apart from pixels: rendering the same scene as a picture, a label map or
another kind of measurement gives aligned results. Does not know how anything is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from segx_core.datasets.scenes_textures import Texture

Colour = tuple[float, float, float]
"""Red, green, blue in 0..255."""

CLASSES = ("sky", "meadow", "field", "orchard", "balloon", "ring", "star", "tent", "powerline", "beacon")
GROUNDS = ("meadow", "field", "orchard")
THINGS = ("balloon", "ring", "star", "tent")


@dataclass(frozen=True)
class Sky:
    """The backdrop: two tones from top to horizon and soft clouds."""

    top: Colour
    bottom: Colour
    clouds: float
    """0 is clear, 1 is covered."""
    texture: Texture


@dataclass(frozen=True)
class Layer:
    """A hill that fills everything below its crest."""

    kind: str
    depth: float
    """Distance from the camera in metres."""
    crest: float
    """Mean height of the crest, in pixels from the top."""
    waves: tuple[tuple[float, float, float], ...]
    """Amplitude and wavelength in pixels and phase in radians, added up."""
    texture: Texture
    dark: Colour
    light: Colour

    @property
    def trough(self) -> float:
        """Height, in pixels from the top, that no point of the crest lies below."""
        return self.crest + sum(amplitude for amplitude, _, _ in self.waves)

    def crest_at(self, x: float) -> float:
        """Height of the crest, in pixels from the top, at the column `x`."""
        return self.crest + sum(
            amplitude * math.sin(2 * math.pi * x / length + phase) for amplitude, length, phase in self.waves
        )


@dataclass(frozen=True)
class Thing:
    """A floating shape."""

    kind: str
    depth: float
    x: float
    y: float
    radius: float
    """Pixels, as are `x` and `y`."""
    angle: float
    """Radians."""
    finish: str
    first: Colour
    second: Colour
    texture: Texture


@dataclass(frozen=True)
class Powerline:
    """Masts with cables hung between their tops."""

    depth: float
    masts: tuple[tuple[float, float, float], ...]
    """x of the foot, y of the top, y of the foot; left to right."""
    lean: float
    """The tops stand this many pixels beside the feet."""
    thickness: float
    cable: float
    """Widths of mast and cable in pixels."""
    sag: float
    colour: Colour


@dataclass(frozen=True)
class Beacon:
    """A small lamp with a glow around it."""

    depth: float
    x: float
    y: float
    radius: float
    colour: Colour


Item = Layer | Thing | Powerline | Beacon


@dataclass(frozen=True)
class Camera:
    """What happens between the world and the pixels."""

    light: float
    """Angle in radians towards which the picture gets brighter."""
    contrast: float
    """Gain between the dark and the bright side, 0 for even light."""
    exposure: float
    cast: Colour
    """Gain of each channel around 1."""
    blur: float
    """0 is sharp, 1 is the full 1-2-1 smoothing."""
    noise: float
    """Standard deviation in grey levels."""
    seed: int
    """Seed of the noise."""


@dataclass(frozen=True)
class Scene:
    """Everything that can be seen, and the camera that sees it."""

    height: int
    width: int
    sky: Sky
    layers: tuple[Layer, ...]
    things: tuple[Thing, ...]
    powerlines: tuple[Powerline, ...]
    beacons: tuple[Beacon, ...]
    camera: Camera

    def by_depth(self) -> list[Item]:
        """All that stands in the scene from the farthest to the nearest: the order of painting."""
        everything: list[Item] = [*self.layers, *self.powerlines, *self.things, *self.beacons]
        return sorted(everything, key=lambda item: -item.depth)

    def covered_from(self, depth: float) -> float:
        """Height, in pixels from the top, below which hills nearer than `depth` hide everything."""
        return min((layer.trough for layer in self.layers if layer.depth < depth), default=self.height)
