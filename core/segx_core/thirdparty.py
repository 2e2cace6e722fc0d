"""What a third-party ONNX file leaves to whoever runs it: channel order, normalisation, layout, argmax or thresholds.

A native segx file does all of it inside its graph and needs none of this. Arrays in, arrays out: knows nothing of
ONNX Runtime. How pixels are resampled is geometry.py's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segx_core import bits, geometry
from segx_core.card import InputSpec, OutputSpec, SizeRule
from segx_core.geometry import bilinear_plane
from segx_core.runner import ClassMap, Tensor, UInt8

Float32 = NDArray[np.float32]


def bring(batch: UInt8, rule: SizeRule) -> UInt8:
    """(N, H, W, 3) pictures at the size a graph takes: resized to a fixed one, or padded to a multiple."""
    if rule.height is not None and rule.width is not None:
        return np.stack([geometry.fit(picture, rule.height, rule.width)[0] for picture in batch])
    return geometry.pad(batch, rule.multiple) if rule.kind == "multiple" else batch


def prepare(batch: UInt8, spec: InputSpec) -> Tensor:
    """Pictures as the graph wants them: channel order, normalisation where the card says "runner", layout, dtype.

    Args:
        batch: (N, H, W, 3) uint8 RGB.
        spec: the picture input of the card.

    Returns:
        (N, H, W, C) or (N, C, H, W) in the dtype of the card, C-contiguous.
    """
    ordered: Tensor = batch
    if spec.color == "BGR":
        ordered = batch[..., ::-1]
    elif spec.color == "GRAY":
        ordered = grey(batch)
    rule = spec.normalisation
    if rule is not None and rule.where == "runner":
        # (x / scale - mean) / std as one multiply and one add per channel.
        gain = np.array([1.0 / (rule.scale * std) for std in rule.std], dtype=np.float32)
        shift = np.array([-mean / std for mean, std in zip(rule.mean, rule.std, strict=True)], dtype=np.float32)
        ordered = ordered.astype(np.float32)
        ordered *= gain
        ordered += shift
    if spec.layout == "NCHW":
        ordered = ordered.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(ordered, dtype=np.dtype(spec.dtype))


def grey(batch: UInt8) -> UInt8:
    """(N, H, W, 3) uint8 RGB -> (N, H, W, 1) uint8 luma, ITU-R BT.601 weights in whole 1/65536, rounded."""
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)  # they add up to 65536
    luma = (batch.astype(np.uint32) * weights).sum(axis=-1, keepdims=True, dtype=np.uint32)
    rounded: UInt8 = ((luma + 32768) >> 16).astype(np.uint8)
    return rounded


def planes(scores: Tensor, spec: OutputSpec) -> Float32:
    """Logits or probabilities as the graph gave them -> (N, K, h, w) float32."""
    first = scores.transpose(0, 3, 1, 2) if spec.layout == "NHWC" else scores
    return first.astype(np.float32, copy=False)


def index_type(num_classes: int) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
    """uint8 up to 256 classes, uint16 past them."""
    return np.dtype(np.uint8) if num_classes <= 256 else np.dtype(np.uint16)


def best_class(scores: Float32, height: int, width: int) -> ClassMap:
    """Upsamples and takes the argmax, class by class, so that the memory spent does not grow with the classes.

    Args:
        scores: (K, h, w) float32 logits or probabilities.
        height: rows of the class map.
        width: columns of the class map.

    Returns:
        (height, width) class indices. The lowest index wins a tie, as with np.argmax.
    """
    best = bilinear_plane(scores[0], height, width).copy()
    index: ClassMap = np.zeros((height, width), dtype=index_type(len(scores)))
    for number, plane in enumerate(scores[1:], start=1):
        full = bilinear_plane(plane, height, width)
        better = full > best
        np.copyto(best, full, where=better)
        index[better] = number
    return index


def classes_above(scores: Float32, cuts: Sequence[float], height: int, width: int) -> ClassMap:
    """Upsamples and compares, class by class: the bit field of the classes that are there.

    Args:
        scores: (K, h, w) float32 logits or probabilities.
        cuts: what the score of each class must be above.
        height: rows of the map.
        width: columns of the map.

    Returns:
        (height, width) bit fields, bit k for class k.
    """
    planes = zip(scores, cuts, strict=True)
    return bits.pack(np.stack([bilinear_plane(plane, height, width) > cut for plane, cut in planes]))


def sigmoid(logits: Float32) -> Float32:
    """Logits -> probabilities, each for itself."""
    # exp overflows to infinity for very low logits, and 1 / (1 + infinity) is the right 0.
    with np.errstate(over="ignore"):
        likely: Float32 = np.divide(1, 1 + np.exp(-logits), dtype=np.float32)
    return likely


def softmax(logits: Float32) -> Float32:
    """(K, H, W) logits -> (K, H, W) probabilities over K."""
    shifted: Float32 = logits - logits.max(axis=0, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=0, keepdims=True)
    return shifted
