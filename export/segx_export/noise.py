"""How much a quantized model's scores differ from the float32 ones: cheap, without labels, on two or three pictures.

Noise is the mean squared difference over the scores' variance: 0 is equal, 1 is no relation. It ranks nodes and
calibration methods; whether a model is good enough only mean IoU tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from segx_core.progress import track
from segx_export import onnxgraph
from segx_export.calibrate import Feeds

Scores = list[NDArray[Any]]


def scores_tensor(model: ModelProto) -> str:
    """The tensor that decides: what the last ArgMax or threshold reads, or else the first float output."""
    integers = [item.name for item in model.graph.output if item.type.tensor_type.elem_type != TensorProto.FLOAT]
    if integers:  # a map: go back from it to what it was decided from
        made = onnxgraph.producers(model.graph)
        waiting = integers[:1]
        while waiting:
            node = made.get(waiting.pop(0))
            if node is not None and node.op_type in ("ArgMax", "Greater"):
                return str(node.input[0])
            waiting += [name for name in node.input if name] if node is not None else []
    floats: list[str] = [
        item.name for item in model.graph.output if item.type.tensor_type.elem_type == TensorProto.FLOAT
    ]
    return floats[0] if floats else str(model.graph.output[0].name)


def scores(model: ModelProto, feeds: Sequence[Feeds]) -> Scores:
    """The scores on each of `feeds`, float32, as ONNX Runtime computes them on the CPU."""
    name = scores_tensor(model)
    watched = ModelProto()
    watched.CopyFrom(model)
    if name not in {item.name for item in watched.graph.output}:
        watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(session.run([name], dict(feed))[0], np.float32) for feed in feeds]


def noise(truth: Scores, found: Scores) -> float:
    """Mean squared difference over variance, 0 for equal scores."""
    errors = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in zip(truth, found, strict=True))
    total = sum(float(np.square(a - a.mean(), dtype=np.float64).sum()) for a in truth)
    return errors / max(total, np.finfo(np.float64).tiny)


def rank(
    nodes: Sequence[str], alone: Callable[[str], ModelProto], truth: Scores, feeds: Sequence[Feeds]
) -> list[tuple[str, float]]:
    """Nodes by the noise each makes when it alone is int8, the worst first.

    Args:
        nodes: names.
        alone: builds the model in which only that node is int8.
        truth: the float32 scores on `feeds`.
    """
    found = [(node, noise(truth, scores(alone(node), feeds))) for node in track(nodes, "ranking nodes", unit="nodes")]
    return sorted(found, key=lambda item: -item[1])
