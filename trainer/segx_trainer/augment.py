"""Joint augmentation of picture and label map, on torchvision.transforms.v2. Labels are never interpolated.

A preset is a list of transforms that ends in a crop of one size, so that samples stack. All randomness comes from
torch's generator, which the loader seeds per sample.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from segx_core.cv import cv2


class ScaleCrop(v2.Transform):  # type: ignore[misc]  # torchvision ships no types
    """A random window, resized to (height, width) at a scale drawn log-uniformly from `scale`.

    The window is cut before it is resized, so only the pixels that are kept are computed. Where it reaches past the
    picture, the picture is filled with `fill` and the label map with the ignore index.
    """

    def __init__(self, size: tuple[int, int], scale: tuple[float, float], ignore_index: int, fill: int = 124) -> None:
        super().__init__()
        self.size = size
        self.scale = scale
        self.ignore_index = ignore_index
        self.fill = fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the window: top, left, height and width in pixels of the source, possibly past its edges."""
        return self._window(v2.query_size(flat_inputs), None)

    def around(self, focus: tuple[int, int], image: Any, mask: Any) -> tuple[Any, Any]:
        """The same for a picture and its mask, with a window that holds the pixel `focus` (row, column)."""
        params = self._window(v2.query_size([image]), focus)
        return self.transform(image, params), self.transform(mask, params)

    def _window(self, full_size: tuple[int, int], focus: tuple[int, int] | None) -> dict[str, Any]:
        height, width = full_size
        low, high = self.scale
        factor = low * (high / low) ** torch.rand(()).item()
        window = [max(1, round(side / factor)) for side in self.size]
        corner = []
        for axis, (full, part) in enumerate(zip(full_size, window, strict=True)):
            first, last = min(0, full - part), max(0, full - part)
            if focus is not None:  # not at the very edge where that can be: a pixel is told by what is around it
                margin = part // 8
                nearest, farthest = focus[axis] - margin, focus[axis] - part + 1 + margin
                first, last = max(first, min(farthest, last)), min(last, max(nearest, first))
            corner.append(int(torch.randint(first, last + 1, ()).item()))
        pads = [
            max(0, -corner[1]),
            max(0, -corner[0]),
            max(0, corner[1] + window[1] - width),
            max(0, corner[0] + window[0] - height),
        ]  # left, top, right, bottom
        return {"box": [corner[0] + pads[1], corner[1] + pads[0], *window], "pads": pads}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Apply one window to a picture (bilinear) or a mask (nearest)."""
        is_mask = isinstance(inpt, tv_tensors.Mask)
        if any(params["pads"]):
            inpt = functional.pad(inpt, params["pads"], fill=self.ignore_index if is_mask else self.fill)
        mode = v2.InterpolationMode.NEAREST_EXACT if is_mask else v2.InterpolationMode.BILINEAR
        return functional.resized_crop(inpt, *params["box"], list(self.size), interpolation=mode, antialias=True)


class Compress(v2.Transform):  # type: ignore[misc]  # torchvision ships no types
    """JPEG artefacts at a random quality of `qualities`. torchvision's own codec is on its way out (0.29)."""

    def __init__(self, qualities: tuple[int, int]) -> None:
        super().__init__()
        self.qualities = qualities

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the quality."""
        low, high = self.qualities
        return {"quality": int(torch.randint(low, high + 1, ()).item())}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Encode and decode a picture (3, H, W) uint8; leave a mask alone."""
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        pixels = inpt.permute(1, 2, 0).contiguous().numpy()
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, params["quality"]])
        again = torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_COLOR)).permute(2, 0, 1).contiguous()
        return tv_tensors.wrap(again, like=inpt)


def preset(
    name: Literal["none", "light", "strong"],
    size: tuple[int, int],
    ignore_index: int,
    scale: tuple[float, float] | None = None,
) -> list[v2.Transform]:
    """The transforms of one preset; all end in pictures of `size` (height, width).

    `scale` takes the place of the preset's range of zoom.
    """
    match name:
        case "none":
            return [ScaleCrop(size, scale or (1.0, 1.0), ignore_index)]
        case "light":
            return [
                ScaleCrop(size, scale or (0.6, 1.8), ignore_index),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.2, 0.2, 0.2, 0.02),
            ]
        case "strong":
            return [
                ScaleCrop(size, scale or (0.5, 2.0), ignore_index),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.4, 0.4, 0.4, 0.06),
                v2.RandomGrayscale(0.05),
                v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.5))], 0.3),
                v2.RandomApply([Compress((40, 95))], 0.2),
            ]


def apply(
    transforms: list[v2.Transform], image: Tensor, mask: Tensor, focus: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """Apply transforms in order to (3, H, W) uint8 and (H, W) int64 alike.

    `focus` is the row and column of a pixel that the crop, the first of the transforms, is to hold.
    """
    picture: Any = tv_tensors.Image(image)
    labels: Any = tv_tensors.Mask(mask)
    for transform in transforms:
        if focus is not None and isinstance(transform, ScaleCrop):
            picture, labels = transform.around(focus, picture, labels)
        else:
            picture, labels = transform(picture, labels)
    return picture.as_subclass(Tensor), labels.as_subclass(Tensor)
