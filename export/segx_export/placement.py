"""Which kernels ONNX Runtime really uses for a file: a QDQ graph is only as fast as the int8 kernels it turns into.

It reads the graph after ONNX Runtime's own optimisation on one provider. It measures no time.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
from onnx import ModelProto

from segx_core.card import Session
from segx_export.quiet import quiet

_INT8 = ("QLinearConv", "QLinearMatMul", "QGemm", "MatMulIntegerToFloat")
_FLOAT = ("Conv", "FusedConv", "ConvTranspose", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "NhwcFusedConv")


@dataclass(frozen=True)
class Placement:
    """Nodes of the graph ONNX Runtime runs."""

    int8: int
    """Convolutions and matrix products with int8 kernels."""
    float: int
    """Those left in floating point."""
    nodes: dict[str, int]
    """Every operator with its count."""


def placement(model: ModelProto, session: Session, provider: str = "CPUExecutionProvider") -> Placement:
    """Let ONNX Runtime optimise a model as its card wants it, and count what it made."""
    with tempfile.TemporaryDirectory(prefix="segx-") as folder, quiet():
        target = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(target)
        for key, value in session.config.items():
            options.add_session_config_entry(key, value)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[provider])
        nodes = Counter(node.op_type for node in onnx.load(target).graph.node)
    return Placement(sum(nodes[op] for op in _INT8), sum(nodes[op] for op in _FLOAT), dict(sorted(nodes.items())))
