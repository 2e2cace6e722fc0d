"""Static int8 for CPUs: QDQ, U8 activations, S8 weights per channel with reduced range, calibrated on pictures.

Only the network is quantized; normalisation, final upsampling and argmax stay float (they cost accuracy, not time).
Range: smallest and largest value seen (MinMax). Whether the result is good enough is gate.py's business, weights-only
int8 is weights.py's. Signed activations are not used: on CPUs without VNNI they forfeit both speed and accuracy; and
without reduced range (7-bit weights) such CPUs overflow their 16-bit sums.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from segx_export import onnxgraph
from segx_export.feeding import Feed, FeedReader
from segx_export.quiet import quiet

QUANTIZED = (
    "Conv", "MatMul", "Gemm", "Add", "Mul", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu", "Clip",
    "Resize", "Sigmoid", "LeakyRelu", "Reshape", "Transpose", "Slice", "Split", "Squeeze", "Unsqueeze",
)  # fmt: skip
"""Operators ONNX Runtime has int8 CPU kernels for, or that pass 8-bit values through."""


def quantize(prepared: ModelProto, feeds: Iterable[Feed], keep_float: tuple[str, ...] = ()) -> ModelProto:
    """An int8 model of a float32 one.

    Args:
        prepared: from `prepare`.
        feeds: what the graph takes, at least one; of training pictures, never of the held-out ones.
        keep_float: names of further nodes of `prepared` to leave in float32.
    """
    outside = onnxgraph.surroundings(prepared.graph)
    with tempfile.TemporaryDirectory(prefix="segx-") as folder, quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(prepared, source)
        quantize_static(
            source,
            target,
            FeedReader(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*outside, *keep_float],
        )
        quantized = onnx.load(target)
    del quantized.metadata_props[:]  # the quantizer's own notes
    onnxgraph.check(quantized)
    return quantized


def prepare(model: ModelProto) -> ModelProto:
    """A deploy model as calibration needs it: constants folded, the type of every tensor known, every node named."""
    with tempfile.TemporaryDirectory(prefix="segx-") as folder, quiet():
        source, target = Path(folder) / "model.onnx", Path(folder) / "prepared.onnx"
        onnx.save(model, source)  # given a ModelProto, quant_pre_process would move its weights out of it
        quant_pre_process(source, target, skip_symbolic_shape=True)
        prepared = onnx.load(target)
    onnxgraph.name_nodes(prepared.graph)
    return prepared
