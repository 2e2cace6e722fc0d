"""What a graph computes on pictures of a few sizes: how passes learn shapes that static inference does not find.

It runs the graph as it stands, without ONNX Runtime's own optimisation, on zeros. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from segx_export import onnxgraph

Count = tuple[int, int, int]
"""Pictures, rows and columns, the latter two in units of the size multiple."""


@dataclass(frozen=True)
class Plane:
    """The picture input of a graph under work."""

    name: str = "image"
    dtype: str = "uint8"
    layout: str = "NHWC"
    multiple: int = 1
    """Sides the graph is right for are multiples of this."""

    def shape(self, count: Count) -> tuple[int, int, int, int]:
        """The shape of the input for some pictures."""
        batch, rows, columns = count[0], count[1] * self.multiple, count[2] * self.multiple
        return (batch, rows, columns, 3) if self.layout == "NHWC" else (batch, 3, rows, columns)

    @property
    def axes(self) -> tuple[int, int, int]:
        """Where pictures, rows and columns are counted."""
        return (0, 1, 2) if self.layout == "NHWC" else (0, 2, 3)


def shapes_and_values(
    model: ModelProto, plane: Plane, tensors: Sequence[str], vectors: Sequence[str], counts: Sequence[Count]
) -> list[tuple[dict[str, tuple[int, ...]], dict[str, NDArray[np.int64]]]]:
    """For each of `counts`: the shapes of `tensors`, and the values of the int64 `vectors`."""
    probe = ModelProto()
    probe.CopyFrom(model)
    graph = probe.graph
    del graph.output[:]
    asked = {}
    for tensor in dict.fromkeys(tensors):
        asked[tensor] = onnxgraph.fresh(graph, f"shape_of_{tensor}")
        graph.node.append(helper.make_node("Shape", [tensor], [asked[tensor]]))
    known = onnxgraph.constants(graph)
    wanted = [vector for vector in dict.fromkeys(vectors) if vector not in known]
    for name in (*asked.values(), *wanted):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = []
    for count in counts:
        feeds = {plane.name: np.zeros(plane.shape(count), plane.dtype)}
        got = dict(zip([*asked.values(), *wanted], session.run(None, feeds), strict=True)) if asked or wanted else {}
        shapes = {tensor: tuple(int(side) for side in got[name]) for tensor, name in asked.items()}
        values = {vector: got[vector] if vector in got else known[vector].astype(np.int64) for vector in vectors}
        found.append((shapes, values))
    return found
