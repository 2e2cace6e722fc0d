"""Mask files to class indices: class index, palette PNG, RGB colour map, binary.

It reads one mask as told. Finding out what masks hold when nobody says so is infer.py's work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segx_core.errors import DataError
from segx_core.runner import ClassMap

Color = tuple[int, int, int]
MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".jpg", ".jpeg"})
"""JPEG is listed so that it is refused with its reason and not overlooked."""


@dataclass(frozen=True)
class MaskEncoding:
    """How the pixels of a mask stand for classes."""

    kind: Literal["index", "binary", "rgb", "multilabel"] = "index"
    """index: the value is the class (palette PNG: the palette index is). binary: 0 is class 0, the rest class 1.
    rgb: `colors` says it. multilabel: any number of classes a pixel; multilabel.py reads such masks."""
    colors: tuple[tuple[Color, int], ...] = ()
    """rgb only: each colour with its class index, or with the ignore index. Several may share one."""


def read_mask(path: Path, encoding: MaskEncoding, num_classes: int, ignore_index: int) -> ClassMap:
    """Read one mask.

    Returns:
        (H, W) uint8, or uint16 where 256 values are not enough; every pixel is below `num_classes` or `ignore_index`.

    Raises:
        DataError: unreadable, JPEG, of another kind than `encoding` says, or holding a value that is no class.
    """
    raw = load(path)
    if encoding.kind == "rgb":
        return _narrow(_from_colors(raw, encoding, path), num_classes, ignore_index)
    values = grey(raw)
    if values is None:
        raise DataError(
            f"{encoding.kind} masks, one channel",
            f"a coloured picture, {path}",
            "Give the colour of each class in dataset.yaml: masks: {encoding: rgb, palette: {road: [128, 64, 128]}}.",
        )
    if encoding.kind == "binary":
        return _narrow(_from_binary(values, ignore_index, path), num_classes, ignore_index)
    unknown = (values >= num_classes) & (values != ignore_index)
    if unknown.any():
        raise _unknown_value(values, unknown, num_classes, ignore_index, path)
    return _narrow(values, num_classes, ignore_index)


def _narrow(values: NDArray[Any], num_classes: int, ignore_index: int) -> ClassMap:
    if max(num_classes - 1, ignore_index) < 256:
        return values.astype(np.uint8)
    return values.astype(np.uint16)


def load(path: Path) -> NDArray[Any]:
    """Read the stored numbers of a mask: (H, W) uint8/uint16, or (H, W, 3) uint8 where it is stored as colours.

    Palette pictures give their palette indices, transparency is dropped.

    Raises:
        DataError: the file is unreadable, JPEG, or of a kind that cannot hold labels.
    """
    try:
        with Image.open(path) as image:
            if image.format == "JPEG":
                raise DataError(
                    "masks in a lossless format",
                    f"a JPEG, {path}",
                    "JPEG blurs labels into values that are no class. Export the masks again as PNG; converting the "
                    "JPEG does not bring the labels back.",
                )
            return _numbers(image, path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError("a readable mask", f"{path}: {error}", "Export that mask again as PNG.") from error


def grey(raw: NDArray[Any]) -> NDArray[Any] | None:
    """(H, W) of a mask whose three channels are equal, or has one; None for real colours."""
    if raw.ndim == 2:
        return raw
    same = np.array_equal(raw[..., 0], raw[..., 1]) and np.array_equal(raw[..., 0], raw[..., 2])
    return raw[..., 0] if same else None


def packed(raw: NDArray[Any]) -> NDArray[np.uint32]:
    """(H, W, 3) uint8 RGB, or (H, W) taken as grey -> (H, W) uint32 0xRRGGBB."""
    wide = (raw if raw.ndim == 3 else np.stack([raw] * 3, axis=-1)).astype(np.uint32)
    codes: NDArray[np.uint32] = np.left_shift(wide[..., 0], 16) | np.left_shift(wide[..., 1], 8) | wide[..., 2]
    return codes


def stored_palette(path: Path, num_classes: int) -> tuple[Color, ...] | None:
    """Colours of the first `num_classes` indices of a palette picture; None if it is none, or some are alike."""
    with Image.open(path) as image:
        flat = image.getpalette("RGB") if image.mode == "P" else None
    if flat is None or len(flat) < 3 * num_classes:
        return None
    colors = tuple((flat[3 * index], flat[3 * index + 1], flat[3 * index + 2]) for index in range(num_classes))
    # A ramp of greys is how plain masks are stored by some tools; nobody chose it for display.
    shown = len(set(colors)) == num_classes and any(red != green for red, green, _ in colors)
    return colors if shown else None


def _numbers(image: Image.Image, path: Path) -> NDArray[Any]:
    if image.format == "GIF":
        # Writers of GIF renumber the palette at will, so a grey value, where it is one, is the only sure label.
        shown = np.asarray(image.convert("RGB"))
        values = grey(shown)
        return values if values is not None else np.asarray(image)
    match image.mode:
        case "L" | "P":
            return np.asarray(image)
        case "1":
            return np.asarray(image).astype(np.uint8)
        case "LA" | "PA" | "La":
            return np.asarray(image)[..., 0]
        case "RGB":
            return np.asarray(image)
        case "RGBA" | "RGBX" | "RGBa":
            return np.asarray(image)[..., :3]
        case mode if mode.startswith("I"):
            wide = np.asarray(image)
            if wide.min(initial=0) >= 0 and wide.max(initial=0) <= 65535:
                return wide.astype(np.uint16)
            raise DataError("mask values of 0..65535", f"{int(wide.min())}..{int(wide.max())} in {path}")
        case mode:
            raise DataError(
                "a mask of class indices (8 or 16 bit), palette or RGB colours",
                f"a picture of kind '{mode}', {path}",
                "Save the masks as PNG.",
            )


def _from_binary(values: NDArray[Any], ignore_index: int, path: Path) -> NDArray[np.uint16]:
    known = np.array([0, 1, 255, 65535])
    strange = ~np.isin(values, known) & (values != ignore_index)
    if strange.any():
        worst = int(values[strange][0])
        raise DataError(
            "binary masks, 0 for background and 255 for foreground",
            f"{worst} on {int((values == worst).sum())} pixels of {path}",
            "Values between come from smoothing or resizing: threshold the masks. Are they class indices? "
            "Then say so in dataset.yaml: masks: {encoding: index}.",
        )
    out = (values > 0).astype(np.uint16)
    if ignore_index not in known:
        out[values == ignore_index] = ignore_index
    return out


def _from_colors(raw: NDArray[Any], encoding: MaskEncoding, path: Path) -> NDArray[np.uint16]:
    codes = packed(raw)
    keys = np.array([(r << 16) | (g << 8) | b for (r, g, b), _ in encoding.colors], dtype=np.uint32)
    values = np.array([value for _, value in encoding.colors], dtype=np.uint16)
    order = np.argsort(keys)
    place = np.minimum(np.searchsorted(keys[order], codes), len(keys) - 1)
    unknown = keys[order][place] != codes
    if unknown.any():
        code = int(codes[unknown][0])
        raise DataError(
            f"only the {len(keys)} colours of the classes",
            f"RGB ({code >> 16}, {code >> 8 & 255}, {code & 255}) on {int((codes == code).sum())} pixels of {path}",
            "Add that colour to masks.palette of dataset.yaml, under 'ignore' if it is not to be learnt. "
            "Many such colours? The masks were smoothed or resized: export them again, nearest neighbour.",
        )
    return values[order][place]


def _unknown_value(
    values: NDArray[Any], unknown: NDArray[np.bool_], num_classes: int, ignore_index: int, path: Path
) -> DataError:
    worst = int(values[unknown].max())
    if worst == 255 and np.isin(values, (0, 255)).all():
        cure = "These look like 0/255 masks: say so in dataset.yaml, masks: {encoding: binary}."
    else:
        cure = f"Add the class to the list, or if {worst} marks pixels not to be learnt, set ignore: {worst}."
    return DataError(
        f"labels of 0..{num_classes - 1} or {ignore_index} (ignore)",
        f"{worst} on {int((values == worst).sum())} pixels of {path}",
        cure,
    )
