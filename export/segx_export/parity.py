"""Whether the ONNX file computes what torch computes: logits close, maps equal but for ties.

Random pictures at several sizes, odd ones and batches included. Quality on real data is gate.py's business: a network
can agree perfectly and be bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from torch import nn

from segx_core import bits
from segx_core.errors import GateError
from segx_export.deploy import LOGITS, DeployGraph, fixed_size, map_name

TIE = 1e-3
"""Margin of a decision, relative to the spread of the logits where that is above 1, under which it may flip: between
the two best logits, and in a multilabel model between a class's logit and its threshold."""
CLOSE = 1e-3
"""Largest allowed difference of logits, relative in the same way."""


@dataclass(frozen=True)
class Parity:
    """How torch and ONNX Runtime compared."""

    shapes: tuple[tuple[int, int, int], ...]
    """(N, H, W) of what was tried."""
    logits_difference: float
    """Largest absolute difference over the largest absolute logit (or 1)."""
    agreement: float
    """Share of pixels with the same class, 0-1."""
    widest_flip: float
    """Largest margin in torch (relative, as above) among pixels whose class differs; 0 where none does."""


def shapes_for(multiple: int) -> tuple[tuple[int, int, int], ...]:
    """Three (N, H, W): on the size multiple, one pixel past and short of it, and smaller than it."""
    return (
        (1, 2 * multiple, 3 * multiple),
        (2, 2 * multiple + 1, 3 * multiple - 1),
        (3, multiple + 5, multiple // 2 + 7),
    )


def with_logits(model: ModelProto) -> ModelProto:
    """A copy of a deploy model that also gives its padded logits."""
    sister = ModelProto()
    sister.CopyFrom(model)
    sister.graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, None))
    return sister


def check_parity(network: nn.Module, model: ModelProto, seed: int = 0, thresholds: Sequence[float] = ()) -> Parity:
    """Compare a network with its float32 deploy model on the CPU; `thresholds` as it was made with.

    Raises:
        GateError: logits differ by more than CLOSE, or a class that was no tie flipped.
    """
    session = onnxruntime.InferenceSession(with_logits(model).SerializeToString(), providers=["CPUExecutionProvider"])
    graph = DeployGraph(network, thresholds).eval()
    random = np.random.default_rng(seed)
    fixed = fixed_size(network)
    shapes = ((1, *fixed), (2, *fixed)) if fixed else shapes_for(int(cast(Any, network).size_multiple))
    worst = flips = 0.0
    same = total = 0
    for shape in shapes:
        picture = random_picture(random, shape)
        with torch.inference_mode():
            logits = network(torch.from_numpy(picture).permute(0, 3, 1, 2)).numpy()
            classmap = graph(torch.from_numpy(picture))[0].numpy()
        got_map, got_logits = session.run([map_name(thresholds), LOGITS], {"image": picture})
        scale = max(1.0, float(np.abs(logits).max()))
        difference = float(np.abs(got_logits[..., : shape[1], : shape[2]] - logits).max()) / scale
        if not np.isfinite(difference):
            raise GateError("finite logits from torch and ONNX Runtime", f"{difference} at shape {shape}")
        worst = max(worst, difference)
        differs = got_map != classmap
        same, total = same + int((~differs).sum()), total + differs.size
        if differs.any():
            margins = _margins(logits, got_map ^ classmap, thresholds)
            flips = max(flips, float(margins[differs].max()) / scale)
    if worst > CLOSE or flips > TIE:
        raise GateError(
            f"logits of ONNX Runtime within {CLOSE:g} of torch's, and only ties to flip",
            f"a difference of {worst:.2g} and a flipped margin of {flips:.2g} at shapes {shapes}",
            "The exported graph does not compute the network; try another opset or report it with the encoder's name.",
        )
    return Parity(shapes, worst, same / total, flips)


def _margins(logits: NDArray[Any], changed: NDArray[Any], thresholds: Sequence[float]) -> NDArray[Any]:
    """(N, H, W) by how much torch was decided on what is another in ONNX Runtime.

    Args:
        logits: (N, K, H, W) of torch.
        changed: (N, H, W) the bits that differ between the maps.
        thresholds: of a multilabel network.
    """
    if not thresholds:
        top = np.sort(logits, axis=1)[:, -2:]
        return np.asarray(top[:, 1] - top[:, 0])
    cuts = np.array([bits.cut(one) for one in thresholds]).reshape(1, -1, 1, 1)
    flipped = np.moveaxis(bits.unpack(changed, len(thresholds)), 0, 1)
    return np.asarray(np.where(flipped, np.abs(logits - cuts), 0).max(axis=1))


def random_picture(random: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Smooth noise with texture: plain noise looks alike to a network everywhere."""
    n, height, width = shape
    coarse = random.integers(0, 256, (n, height // 16 + 1, width // 16 + 1, 3))
    smooth = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    noisy: NDArray[np.uint8] = np.clip(smooth + random.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)
    return noisy
