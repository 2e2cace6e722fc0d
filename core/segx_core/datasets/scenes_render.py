"""Paints a `Scene`: as a picture and as its label map.

Everything is painted at twice the size from far to near. The picture is the mean of each 2x2 block, the label what
most of the block shows; a block split evenly belongs to nobody and is ignored. Arrays see only operations that every
machine rounds alike, so that everybody gets the same data set. Does not know how scenes are made up.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from segx_core.datasets import scenes_shapes as shapes
from segx_core.datasets.scenes_textures import paint, value_noise, wave
from segx_core.datasets.scenes_world import CLASSES, Beacon, Camera, Colour, Layer, Powerline, Scene, Sky, Thing

IGNORE = 255
DETAIL = 2
"""Painted points per pixel along each axis."""

Plane = NDArray[np.float32]


class Canvas:
    """The colours (H*2, W*2, 3) float32 and labels (H*2, W*2) uint8 painted so far."""

    def __init__(self, height: int, width: int) -> None:
        self.colours: Plane = np.zeros((height * DETAIL, width * DETAIL, 3), np.float32)
        self.labels = np.zeros((height * DETAIL, width * DETAIL), np.uint8)
        self.x: Plane = _centres(width)[None, :]
        self.y: Plane = _centres(height)[:, None]

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
        """Rows and columns that cover a box given in pixels, cut to the canvas."""
        rows, columns = self.labels.shape
        return (
            slice(min(max(int(top * DETAIL) - 1, 0), rows), min(max(int(bottom * DETAIL) + 2, 0), rows)),
            slice(min(max(int(left * DETAIL) - 1, 0), columns), min(max(int(right * DETAIL) + 2, 0), columns)),
        )

    def put(self, window: tuple[slice, slice], inside: NDArray[np.bool_], colours: Plane, kind: str) -> None:
        """Paint and label the points of the window that are `inside`; colours (h, w, 3) or (3,)."""
        self.labels[window][inside] = CLASSES.index(kind)
        np.copyto(self.colours[window], colours, where=inside[..., None])


def render(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The picture (H, W, 3) uint8 RGB of a scene and its label map (H, W) uint8."""
    canvas = Canvas(scene.height, scene.width)
    _sky(canvas, scene.sky, scene.covered_from(math.inf))
    for item in scene.by_depth():
        match item:
            case Layer():
                _layer(canvas, item, scene.covered_from(item.depth))
            case Thing():
                _thing(canvas, item)
            case Powerline():
                _powerline(canvas, item)
            case Beacon():
                _beacon(canvas, item)
    upper, lower = canvas.colours[::2], canvas.colours[1::2]
    light = (upper[:, ::2] + upper[:, 1::2] + lower[:, ::2] + lower[:, 1::2]) * np.float32(0.25)
    return expose(light, scene.camera), settle(canvas.labels)


def settle(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The label that holds more than half of each 2x2 block, (2H, 2W) -> (H, W); `IGNORE` where none does."""
    a, b, c, d = labels[::2, ::2], labels[::2, 1::2], labels[1::2, ::2], labels[1::2, 1::2]
    first = ((a == b).astype(np.uint8) + (a == c) + (a == d)) >= 2
    second = (b == c) & (b == d)
    return np.where(first, a, np.where(second, b, IGNORE)).astype(np.uint8)


def expose(picture: Plane, camera: Camera) -> NDArray[np.uint8]:
    """What the camera makes of the light (H, W, 3) float32 that reaches it: a picture (H, W, 3) uint8."""
    height, width, _ = picture.shape
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :, None]
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None, None]
    slope = x * np.float32(np.cos(camera.light)) + y * np.float32(np.sin(camera.light))
    gain = np.float32(camera.exposure) * (1 + np.float32(camera.contrast) * slope)
    lit = picture * gain * np.asarray(camera.cast, np.float32)
    for axis in (0, 1):
        padded = np.pad(lit, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        before, after = (
            np.take(padded, range(lit.shape[axis]), axis),
            np.take(padded, range(2, lit.shape[axis] + 2), axis),
        )
        lit = lit + np.float32(camera.blur * 0.25) * (before + after - 2 * lit)
    grain = np.random.default_rng(camera.seed).integers(0, 256, (4, height, width, 3), np.uint8)
    normal = (grain.sum(axis=0, dtype=np.int16).astype(np.float32) - 510) / np.float32(
        147.8
    )  # four dice: nearly normal
    seen: NDArray[np.uint8] = np.clip(np.rint(lit + normal * np.float32(camera.noise)), 0, 255).astype(np.uint8)
    return seen


def _centres(pixels: int) -> Plane:
    return ((np.arange(pixels * DETAIL) + 0.5) / DETAIL).astype(np.float32)


def _mix(first: Colour | Plane, second: Colour | Plane, share: Plane) -> Plane:
    start, end = np.asarray(first, np.float32), np.asarray(second, np.float32)
    mixed: Plane = start + (end - start) * share[..., None]
    return mixed


def _sky(canvas: Canvas, sky: Sky, bottom: float) -> None:
    rows, columns = canvas.labels.shape
    window = canvas.window(0, 0, columns, bottom)
    y = canvas.y[window[0]]
    clouds = paint(sky.texture, canvas.x, y * 2)
    air = _mix(sky.top, sky.bottom, np.minimum(y / np.float32(rows / DETAIL * 0.55), 1))
    white: Colour = (250, 246, 240)
    everywhere = np.ones(canvas.labels[window].shape, np.bool_)
    canvas.put(window, everywhere, _mix(air, white, clouds * np.float32(0.75 * sky.clouds)), "sky")


def _layer(canvas: Canvas, layer: Layer, bottom: float) -> None:
    crest: Plane = np.asarray([layer.crest_at(float(x)) for x in canvas.x[0]], np.float32)[None, :]
    _, columns = canvas.labels.shape
    window = canvas.window(0, float(crest.min()), columns, bottom)
    y = canvas.y[window[0]]
    tone = paint(layer.texture, canvas.x, y)
    canvas.put(window, y >= crest, _mix(layer.dark, layer.light, tone), layer.kind)


def _thing(canvas: Canvas, thing: Thing) -> None:
    reach = thing.radius
    window = canvas.window(thing.x - reach, thing.y - reach, thing.x + reach, thing.y + reach)
    x, y = canvas.x[:, window[1]] - np.float32(thing.x), canvas.y[window[0]] - np.float32(thing.y)
    scale = np.float32(1 / reach)
    cos, sin = np.float32(np.cos(thing.angle)) * scale, np.float32(np.sin(thing.angle)) * scale
    u, v = x * cos + y * sin, y * cos - x * sin
    inside = shapes.inside(thing.kind, u, v)
    light: Plane = 1 - (x * scale + y * scale) * np.float32(0.22)  # lit from the upper left
    if thing.kind == "star":  # folded, as a paper star is
        light = np.where(shapes.facets(u, v), light * np.float32(0.68), light)
    canvas.put(window, inside, _mix(thing.first, thing.second, _finish(thing, u, v)) * light[..., None], thing.kind)


def _finish(thing: Thing, u: Plane, v: Plane) -> Plane:
    """Share (h, w) of the second colour at the points of a thing."""
    match thing.finish:
        case "plain":
            return np.zeros_like(u)
        case "shaded":
            shade: Plane = np.clip(v * np.float32(0.5) + np.float32(0.5), 0, 1)
            return shade
        case "halves":
            return np.where(u > 0, np.float32(1), np.float32(0))
        case "candy":
            return np.where(wave(u * np.float32(1.43)) > 0, np.float32(1), np.float32(0))
        case "dotted":
            dots = wave(u * np.float32(1.27)) * wave(v * np.float32(1.27)) > np.float32(0.3)
            return np.where(dots, np.float32(1), np.float32(0))
        case "marbled":
            marble: Plane = np.clip(value_noise(u * 3 + 9, v * 3 + 9, thing.texture.seed) + np.float32(0.5), 0, 1)
            return marble
        case _:
            raise AssertionError(thing.finish)


def _powerline(canvas: Canvas, line: Powerline) -> None:
    colour = np.asarray(line.colour, np.float32)
    tops = [(x + line.lean, top) for x, top, _ in line.masts]
    for (root, top, foot), (tip, _) in zip(line.masts, tops, strict=True):
        reach = line.thickness
        window = canvas.window(min(root, tip) - reach, top - reach, max(root, tip) + reach, foot + reach)
        mast = shapes.segment(tip, top, root, foot, line.thickness, canvas.x[:, window[1]], canvas.y[window[0]])
        canvas.put(window, mast, colour, "powerline")
    for (x0, y0), (x1, y1) in itertools.pairwise(tops):
        window = canvas.window(x0, min(y0, y1) - 3, x1, max(y0, y1) + line.sag + 3)
        x, y = canvas.x[:, window[1]], canvas.y[window[0]]
        cable = shapes.sagging(x0, y0, x1, y1, line.sag, line.cable, x, y)
        canvas.put(window, cable, colour, "powerline")


def _beacon(canvas: Canvas, lamp: Beacon) -> None:
    reach = lamp.radius * 3
    window = canvas.window(lamp.x - reach, lamp.y - reach, lamp.x + reach, lamp.y + reach)
    x, y = canvas.x[:, window[1]] - np.float32(lamp.x), canvas.y[window[0]] - np.float32(lamp.y)
    distance = np.sqrt(x * x + y * y) / np.float32(lamp.radius)
    glow = np.clip(1 - distance / 3, 0, 1) ** 2 * np.float32(0.6)
    canvas.colours[window] = _mix(canvas.colours[window], lamp.colour, glow)
    canvas.put(window, distance <= 1, np.asarray(lamp.colour, np.float32), "beacon")
