"""Invents the scenes: draws hills, things, powerlines, lamps and weather from a seeded random stream.

Decides what the data set is like and how hard it is. Does not know how anything is drawn.
"""

from __future__ import annotations

import math

import numpy as np

from segx_core.datasets.scenes_textures import Texture
from segx_core.datasets.scenes_world import (
    GROUNDS,
    THINGS,
    Beacon,
    Camera,
    Colour,
    Layer,
    Powerline,
    Scene,
    Sky,
    Thing,
)

SPLITS = ("train", "val", "test")

SEEN_TEXTURES = {
    "meadow": ("blotches", "tufts"),
    "field": ("stripes", "bent stripes"),
    "orchard": ("dots",),
}
UNSEEN_TEXTURES = {
    "meadow": ("ridges",),
    "field": ("zigzag", "double stripes"),
    "orchard": ("honeycomb", "bricks"),
}
SEEN_FINISHES = ("plain", "shaded", "halves")
UNSEEN_FINISHES = ("candy", "dotted", "marbled")
"""How things are painted. The test split never shares a texture or a finish with train and val."""

# Sky above, sky at the horizon, ground dark, ground light.
THEMES: tuple[tuple[Colour, Colour, Colour, Colour], ...] = (
    ((74, 138, 214), (198, 226, 240), (62, 108, 58), (152, 182, 92)),  # day
    ((72, 62, 122), (246, 168, 112), (88, 64, 86), (202, 140, 106)),  # dusk
    ((18, 26, 60), (66, 88, 136), (30, 50, 72), (92, 124, 128)),  # night
    ((146, 174, 192), (238, 222, 188), (136, 76, 40), (222, 164, 74)),  # autumn
    ((104, 186, 188), (224, 244, 224), (40, 110, 104), (142, 208, 170)),  # mint
    ((190, 136, 180), (250, 216, 204), (122, 68, 104), (224, 150, 160)),  # rose
    ((92, 160, 200), (248, 228, 190), (174, 116, 72), (236, 196, 132)),  # desert
    ((78, 88, 100), (166, 174, 172), (56, 72, 60), (138, 146, 112)),  # storm
)
WARM: tuple[Colour, ...] = ((206, 52, 44), (240, 140, 44), (246, 206, 74), (240, 236, 226))
COOL: tuple[Colour, ...] = ((40, 128, 132), (48, 96, 192), (122, 74, 168), (58, 56, 66))
PAINTS = {"balloon": WARM, "star": WARM, "ring": COOL, "tent": COOL}
"""Colours of each kind of thing: those that share them differ in outline only."""

WIRES: tuple[Colour, ...] = ((40, 38, 46), (62, 46, 40))
LAMPS: tuple[Colour, ...] = ((255, 44, 84), (255, 84, 150))

GROWTH = {"star": 1.2}
"""A shape that fills less of its circle is drawn larger, so that all are about as hard to find."""


def describe(seed: int, index: int, split: str, height: int, width: int) -> Scene:
    """The scene number `index` of a split; the same arguments always give the same scene."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return _Maker(np.random.default_rng([seed, SPLITS.index(split), index]), split == "test", height, width).scene()


class _Maker:
    """Draws one scene from a random stream."""

    def __init__(self, random: np.random.Generator, unseen: bool, height: int, width: int) -> None:
        self.random = random
        self.height, self.width = height, width
        self.pixel = height / 96  # sizes below are for 96 rows
        self.textures = UNSEEN_TEXTURES if unseen else SEEN_TEXTURES
        self.finishes = UNSEEN_FINISHES if unseen else SEEN_FINISHES
        self.theme = THEMES[self.random.integers(len(THEMES))]

    def scene(self) -> Scene:
        layers = self.hills()
        powerlines = tuple(self.powerline(layers) for _ in range(self.random.choice(3, p=(0.25, 0.6, 0.15))))
        return Scene(
            height=self.height,
            width=self.width,
            sky=Sky(
                top=self.vary(self.theme[0]),
                bottom=self.vary(self.theme[1]),
                clouds=self.between(0.0, 0.9),
                texture=self.texture("blotches", 22, 34),
            ),
            layers=layers,
            things=self.floating(),
            powerlines=powerlines,
            beacons=self.lamps(layers, powerlines),
            camera=Camera(
                light=self.between(0, 2 * math.pi),
                contrast=self.between(0.0, 0.7),
                exposure=self.between(0.8, 1.15),
                cast=(self.between(0.92, 1.08), 1.0, self.between(0.92, 1.08)),
                blur=max(0.0, self.between(-0.6, 0.8)),
                noise=self.between(2.0, 9.0),
                seed=self.fresh(),
            ),
        )

    def hills(self) -> tuple[Layer, ...]:
        count = int(self.random.integers(3, 5))
        top = self.between(0.28, 0.46) * self.height
        step = (self.height - top) / count
        kinds = [GROUNDS[i] for i in self.random.permutation(3)]
        layers = []
        for row in range(count):
            depth = 400 * 0.55**row * self.between(0.9, 1.1)
            haze = 0.35 * (1 - row / count) ** 2
            kind = kinds[row % 3] if row < 3 else GROUNDS[self.random.integers(3)]
            families = self.textures[kind]
            layers.append(
                Layer(
                    kind=kind,
                    depth=depth,
                    crest=top + row * step,
                    waves=(
                        (self.between(1, 6) * self.pixel, self.between(60, 150) * self.pixel, self.between(0, 6.3)),
                        (self.between(0, 2) * self.pixel, self.between(20, 50) * self.pixel, self.between(0, 6.3)),
                    ),
                    texture=self.texture(families[self.random.integers(len(families))], 4.5, 8),
                    dark=blend(self.vary(self.theme[2]), self.theme[1], haze),
                    light=blend(self.vary(self.theme[3]), self.theme[1], haze),
                )
            )
        return tuple(layers)

    def floating(self) -> tuple[Thing, ...]:
        things = []
        for _ in range(self.random.integers(4, 8)):
            kind = THINGS[self.random.integers(len(THINGS))]
            things.append(
                Thing(
                    kind=kind,
                    depth=400 * 0.05 ** self.random.random(),
                    x=self.between(0.02, 0.98) * self.width,
                    y=self.between(0.06, 0.9) * self.height,
                    radius=self.between(12, 20) * GROWTH.get(kind, 1.0) * self.pixel,
                    angle=self.between(-0.6, 0.6),
                    finish=self.finishes[self.random.integers(len(self.finishes))],
                    first=self.colour(kind),
                    second=self.colour(kind),
                    texture=self.texture("stripes", 5, 9),
                )
            )
        return tuple(things)

    def powerline(self, layers: tuple[Layer, ...]) -> Powerline:
        layer = layers[self.random.integers(len(layers))]
        gap = self.between(38, 62) * self.pixel
        tall = self.between(24, 44) * self.pixel
        masts = []
        x = self.between(-0.5, 0.4) * gap
        while x < self.width + gap:
            foot = layer.crest_at(x) + self.between(2, 8) * self.pixel
            masts.append((x, foot - tall * self.between(0.92, 1.08), foot))
            x += gap * self.between(0.9, 1.1)
        return Powerline(
            depth=layer.depth * 0.98,
            masts=tuple(masts),
            lean=self.between(-1.5, 1.5) * self.pixel,
            thickness=self.between(2.4, 3.2) * self.pixel,
            cable=self.between(2.0, 2.4) * self.pixel,
            sag=self.between(2, 9) * self.pixel,
            colour=self.vary(WIRES[self.random.integers(len(WIRES))]),
        )

    def lamps(self, layers: tuple[Layer, ...], powerlines: tuple[Powerline, ...]) -> tuple[Beacon, ...]:
        lamps = []
        for line in powerlines:
            for x, top, _ in line.masts:
                if self.random.random() < 0.5:
                    lamps.append(self.lamp(line.depth * 0.99, x + line.lean, top))
        if self.random.random() < 0.5:
            layer = layers[self.random.integers(len(layers))]
            x = self.between(0.1, 0.9) * self.width
            lamps.append(self.lamp(layer.depth * 0.97, x, layer.crest_at(x) - self.pixel))
        return tuple(lamps)

    def lamp(self, depth: float, x: float, y: float) -> Beacon:
        colour = LAMPS[self.random.integers(len(LAMPS))]
        return Beacon(depth=depth, x=x, y=y, radius=self.between(2.4, 2.9) * self.pixel, colour=colour)

    def texture(self, family: str, low: float, high: float) -> Texture:
        return Texture(
            family=family,
            period=self.between(low, high) * self.pixel,
            angle=self.between(0, math.pi),
            phase=(self.between(0, 100) * self.pixel, self.between(0, 100) * self.pixel),
            sharpness=self.between(1.4, 2.6),
            seed=self.fresh(),
        )

    def colour(self, kind: str) -> Colour:
        if self.random.random() < 0.1:  # painted like the landscape around it
            return self.vary(self.theme[self.random.integers(4)])
        return self.vary(PAINTS[kind][self.random.integers(len(PAINTS[kind]))])

    def vary(self, colour: Colour) -> Colour:
        red, green, blue = (min(255.0, max(0.0, channel + self.between(-16, 16))) for channel in colour)
        return red, green, blue

    def between(self, low: float, high: float) -> float:
        return float(low + (high - low) * self.random.random())

    def fresh(self) -> int:
        return int(self.random.integers(1 << 31))


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` of the way from `first` to `second`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue
