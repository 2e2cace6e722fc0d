"""Steps that change colours and leave pixels where they are: colour, blur, noise, JPEG, erasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segx_core.cv import cv2
from segx_trainer.augment import policy
from segx_trainer.augment.draw import Draw, Pair
from segx_trainer.augment.geometry import picture, pixels

_LUMA = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601
_TO_YIQ = np.array([_LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True)
class Recolor:
    """All linear changes of colour in one 3x4 matrix: one pass over the pixels instead of five."""

    settings: policy.Color

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw) -> Pair:
        """Draw the matrix and the curve, and put every pixel through them."""
        source = pixels(image)
        changed = cv2.transform(source, self.matrix(_LUMA @ np.array(cv2.mean(source)[:3]), draw))
        gamma = draw.factor(*self.settings.gamma)
        if gamma != 1:
            curve = 255 * (np.arange(256) / 255) ** gamma
            changed = cv2.LUT(changed, curve.round().astype(np.uint8))
        return picture(changed), mask

    def matrix(self, mean: float, draw: Draw) -> NDArray[np.float64]:
        """(3, 4): colours, and a last column that is added. `mean` is the picture's mean grey level."""
        chosen = self.settings
        brightness, contrast, saturation = (
            draw.between(1 - strength, 1 + strength)
            for strength in (chosen.brightness, chosen.contrast, chosen.saturation)
        )
        angle = 2 * math.pi * draw.between(-chosen.hue, chosen.hue)
        if draw.chance(chosen.gray):
            saturation = 0.0
        # Hue turns, and saturation stretches, the plane of colours at right angles to grey.
        plane = saturation * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        inner = np.zeros((3, 3))
        inner[0, 0], inner[1:, 1:] = 1, plane
        linear = brightness * contrast * (np.linalg.inv(_TO_YIQ) @ inner @ _TO_YIQ)
        return np.column_stack([linear, np.full(3, brightness * (1 - contrast) * mean)])


@dataclass(frozen=True)
class Smooth:
    """A Gaussian blur."""

    settings: policy.Blur

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw) -> Pair:
        """Draw the width and blur."""
        sigma = draw.between(*self.settings.sigma)
        side = 2 * math.ceil(2 * sigma) + 1  # past two sigma a pixel weighs less than a grey level
        return picture(cv2.GaussianBlur(pixels(image), (side, side), sigma)), mask


@dataclass(frozen=True)
class Grain:
    """Gaussian noise of 256 equally likely levels: a random byte a value, 20 times as fast as normal deviates."""

    settings: policy.Noise

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw) -> Pair:
        """Draw the strength and add."""
        sigma = draw.between(*self.settings.sigma)
        source = pixels(image)
        levels = np.clip(np.rint(sigma * _quantiles()), -127, 127).astype(np.int8)
        random = np.frombuffer(draw.rng.bytes(source.size), np.uint8).reshape(source.shape)
        return picture(cv2.add(source, cv2.LUT(random, levels), dtype=cv2.CV_8U)), mask


def _quantiles() -> NDArray[np.float64]:
    return np.array([NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)])


@dataclass(frozen=True)
class Compress:
    """JPEG artefacts. OpenCV's codec: torchvision's own is on its way out."""

    settings: policy.Jpeg

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw) -> Pair:
        """Encode and decode at a random quality."""
        quality = draw.whole(*self.settings.quality)
        _, data = cv2.imencode(".jpg", pixels(image), [cv2.IMWRITE_JPEG_QUALITY, quality])
        return picture(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))), mask


@dataclass(frozen=True)
class Blank:
    """Rectangles of one random colour each."""

    settings: policy.Erase
    ignore_index: int

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw) -> Pair:
        """Fill the rectangles."""
        image, mask = image.clone(), mask.clone()
        for _ in range(draw.whole(1, self.settings.count)):
            rows, columns = rectangle(mask.shape, self.settings.area, draw)
            for channel in range(3):
                image[channel, rows, columns] = draw.whole(0, 255)
            if self.settings.labels == "ignore":
                mask[rows, columns] = self.ignore_index
        return image, mask


def rectangle(size: tuple[int, ...], area: tuple[float, float], draw: Draw) -> tuple[slice, slice]:
    """A rectangle that covers a share of the picture drawn from `area`, up to twice as high or wide as the picture's
    own shape, anywhere inside: rows and columns.
    """
    share, lean = draw.between(*area), draw.factor(0.5, 2.0)
    spans = []
    for side, factor in zip(size, (lean, 1 / lean), strict=True):
        length = min(side, max(1, round(side * math.sqrt(share * factor))))
        start = draw.whole(0, side - length)
        spans.append(slice(start, start + length))
    return spans[0], spans[1]
