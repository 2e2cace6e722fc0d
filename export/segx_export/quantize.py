"""Static int8 as QDQ: which numbers become 8-bit integers, from ranges that calibrate.py measured.

On CPUs: U8 activations, S8 weights per output channel with reduced range. Signed activations forfeit both speed and
accuracy on CPUs without VNNI, and without reduced range (7-bit weights) such CPUs overflow their 16-bit sums. TensorRT
wants everything signed and symmetric. Only the network is quantized; normalisation, final upsampling and argmax stay
float or bytes (they cost accuracy, not time). Whether the result is good enough is decided elsewhere.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from segx_export import onnxgraph
from segx_export.calibrate import Bounds
from segx_export.quiet import quiet
from segx_export.rawpicture import CENTRED, drop_rounding, overrides, take_bytes

QUANTIZED = (
    "Conv", "MatMul", "Gemm", "Add", "Mul", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu", "Clip",
    "Resize", "Sigmoid", "LeakyRelu", "Softmax", "Reshape", "Transpose", "Slice", "Split", "Squeeze", "Unsqueeze",
)  # fmt: skip
"""Operators ONNX Runtime has int8 CPU kernels for, or that pass 8-bit values through."""


@dataclass(frozen=True)
class Scheme:
    """How integers stand for numbers."""

    signed: bool = False
    """Activations S8 with zero point 0 instead of U8."""
    per_channel: bool = True
    """One scale per output channel of a weight instead of one for all."""
    reduced: bool = True
    """7-bit weights, whose products two at a time fit into 16 bits."""
    operators: tuple[str, ...] = QUANTIZED
    """Kinds of nodes that are quantized."""


CPU = Scheme()
TENSORRT = Scheme(signed=True, reduced=False, operators=("Conv", "ConvTranspose", "MatMul", "Gemm", "Add"))


def quantize(
    prepared: ModelProto,
    bounds: Bounds,
    scheme: Scheme = CPU,
    keep_float: Sequence[str] = (),
    only: Sequence[str] = (),
) -> ModelProto:
    """An int8 model of a float32 one.

    Args:
        prepared: from `prepare`; stays as it is.
        bounds: the range of every activation, from calibrate.py.
        scheme: how integers stand for numbers.
        keep_float: names of nodes of `prepared` to leave in float32.
        only: names of the only nodes to quantize; empty for all.
    """
    copy = ModelProto()
    copy.CopyFrom(prepared)
    outside = onnxgraph.surroundings(prepared.graph)
    raw = overrides(prepared) if not scheme.signed else {}  # bytes are no signed numbers
    options: dict[str, Any] = {"TensorQuantOverrides": raw, "ActivationSymmetric": scheme.signed}
    given = {name: _data(*bound) for name, bound in _as_kept(prepared, bounds).items()}
    with quiet():
        quantizer = QDQQuantizer(
            copy,
            scheme.per_channel,
            scheme.reduced,
            QuantType.QInt8,
            QuantType.QInt8 if scheme.signed else QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, given),
            list(only),
            [*outside, *keep_float],
            list(scheme.operators),
            options,
        )
        quantizer.quantize_model()
    quantized: ModelProto = quantizer.model.model
    onnxgraph.sort_nodes(quantized.graph)  # the quantizer appends what it adds
    if raw:
        drop_rounding(quantized)
    del quantized.metadata_props[:]  # the quantizer's own notes
    onnxgraph.check(quantized)
    return quantized


def _as_kept(prepared: ModelProto, bounds: Bounds) -> Bounds:
    """The bounds with those of what only an activation reads narrowed to what the activation lets through.

    The quantizer does so for activations that it quantizes itself, not where a convolution alone is asked for.
    """
    kept = dict(bounds)
    used = onnxgraph.consumers(prepared.graph)
    for node in prepared.graph.node:
        if node.op_type in ("Relu", "Clip") and len(used[node.input[0]]) == 1 and node.output[0] in bounds:
            kept[node.input[0]] = bounds[node.output[0]]
    return kept


def _data(low: float, high: float) -> TensorData:
    return TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))


def prepare(model: ModelProto, *, raw: bool = True) -> ModelProto:
    """A deploy model as calibration needs it: constants folded, the type of every tensor known, every node named.

    Args:
        model: float32; stays as it is.
        raw: let the first convolution read the picture's bytes where it can (not for signed schemes).
    """
    with tempfile.TemporaryDirectory(prefix="segx-") as folder, quiet():
        source, target = Path(folder) / "model.onnx", Path(folder) / "prepared.onnx"
        # Given a ModelProto, quant_pre_process would move its weights out of it.
        onnx.save(take_bytes(model) if raw else model, source)
        quant_pre_process(source, target, skip_symbolic_shape=True)
        prepared = onnx.load(target)
    onnxgraph.name_nodes(prepared.graph)
    return prepared


def heavy_nodes(prepared: ModelProto, scheme: Scheme = CPU) -> list[str]:
    """Names of the nodes whose precision matters, in the graph's order."""
    kinds = onnxgraph.HEAVY & set(scheme.operators)
    outside = set(onnxgraph.surroundings(prepared.graph))
    return [node.name for node in prepared.graph.node if node.op_type in kinds and node.name not in outside]


__all__ = ["CENTRED", "CPU", "QUANTIZED", "TENSORRT", "Scheme", "heavy_nodes", "prepare", "quantize"]
