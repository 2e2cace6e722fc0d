"""The arithmetic a third-party ONNX file leaves to whoever runs it: normalisation, layout, upsampling, argmax.

A native segx file does all of it inside its graph and needs none of this. Arrays in, arrays out: knows nothing of
ONNX Runtime.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segx_core.card import InputSpec
from segx_core.cv import cv2
from segx_core.runner import ClassMap, Tensor, UInt8

Float32 = NDArray[np.float32]


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


def upsample(scores: Float32, height: int, width: int) -> Float32:
    """Bilinear, corners not aligned (PyTorch's `align_corners=False`), edges replicated.

    Args:
        scores: (K, h, w) float32 logits or probabilities.
        height: rows wanted.
        width: columns wanted.

    Returns:
        (K, height, width) float32.
    """
    if scores.shape[1:] == (height, width):
        return scores
    # Plane by plane: OpenCV resizes at most 4 channels on its fast path, and planes are contiguous here.
    planes = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in scores]
    return np.stack(planes).astype(np.float32, copy=False)


def argmax(scores: Tensor) -> ClassMap:
    """(K, H, W) scores -> (H, W) class indices, uint16 past 256 classes. The lowest index wins a tie."""
    best: NDArray[np.int64] = np.argmax(scores, axis=0)
    return best.astype(np.uint8) if scores.shape[0] <= 256 else best.astype(np.uint16)
