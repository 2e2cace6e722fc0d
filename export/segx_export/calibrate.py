"""The ranges of a float32 model's activations on calibration pictures, by three methods from one pass.

MinMax takes the smallest and largest value seen; Percentile cuts the rarest values off; Entropy cuts where the rounded
distribution tells least apart from the true one (Kullback-Leibler, as TensorRT does). It reads training pictures only
and decides nothing: search.py compares the three.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from onnxruntime.quantization.calibrate import HistogramCollector

from segx_core.progress import track
from segx_export import onnxgraph

Feeds = Mapping[str, NDArray[Any]]
Bounds = dict[str, tuple[float, float]]
"""Tensor name -> smallest and largest value it must hold."""

METHODS = ("minmax", "percentile", "entropy")
PERCENTILE = 99.999
_SAMPLE = 1 << 16  # values a tensor and picture that histograms see; smallest and largest are taken over all
_BINS = {"percentile": 2048, "entropy": 128}  # ONNX Runtime's own numbers


@dataclass(frozen=True)
class Ranges:
    """What one calibration found."""

    pictures: int
    bounds: Mapping[str, Bounds]
    """By method, one of METHODS."""


def calibrate(prepared: ModelProto, tensors: Iterable[str], feeds: Iterable[Feeds], count: int) -> Ranges:
    """Run `prepared` on each of `feeds` and watch `tensors`.

    Args:
        prepared: float32, with named nodes.
        tensors: float32 tensors of its graph; others are left out.
        feeds: inputs of one run each, taken one at a time.
        count: how many there are, for the progress line.
    """
    names = list(dict.fromkeys(tensors))
    session = _watching(prepared, names)
    random = np.random.default_rng(0)
    lowest: dict[str, float] = {}
    highest: dict[str, float] = {}
    histograms = {method: _collector(method) for method in ("percentile", "entropy")}
    runs = 0
    for feed in track(feeds, "calibrating int8", total=count, unit="pictures"):
        runs += 1
        for name, value in zip(names, session.run(names, dict(feed)), strict=True):
            if value.dtype != np.float32 or not value.size:
                continue
            lowest[name] = min(lowest.get(name, np.inf), float(value.min()))
            highest[name] = max(highest.get(name, -np.inf), float(value.max()))
            flat = value.reshape(-1)
            some = flat if flat.size <= _SAMPLE else random.choice(flat, _SAMPLE, shuffle=False)
            with contextlib.redirect_stdout(io.StringIO()):  # the library prints a line a call
                for collector in histograms.values():
                    collector.collect({name: some})
    bounds: dict[str, Bounds] = {"minmax": {name: (lowest[name], highest[name]) for name in lowest}}
    for method, collector in histograms.items():
        with contextlib.redirect_stdout(io.StringIO()):
            cut = collector.compute_collection_result()
        bounds[method] = {name: _inside(cut[name], lowest[name], highest[name]) for name in lowest}
    return Ranges(runs, bounds)


def _watching(model: ModelProto, names: list[str]) -> onnxruntime.InferenceSession:
    watched = ModelProto()
    watched.CopyFrom(model)
    given = {item.name for item in watched.graph.output}
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in given
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _collector(method: str) -> HistogramCollector:
    return HistogramCollector(
        method, symmetric=False, num_bins=_BINS[method], num_quantized_bins=128, percentile=PERCENTILE, scenario="same"
    )


def _inside(cut: Any, low: float, high: float) -> tuple[float, float]:
    """A method's range, never wider than what was seen: histograms are symmetric around zero."""
    lower, upper = (float(np.asarray(side).item()) for side in tuple(cut)[:2])
    return max(lower, low), min(upper, high)


def activations(prepared: ModelProto, operators: Iterable[str]) -> list[str]:
    """The float32 activations that nodes of these kinds read or write, those outside the network left out."""
    graph = prepared.graph
    outside = set(onnxgraph.surroundings(graph))
    known = set(onnxgraph.constants(graph))
    items = (*graph.input, *graph.value_info, *graph.output)
    inferred = {item.name: item.type.tensor_type.elem_type for item in items}
    kinds = set(operators)
    names = [
        name
        for node in graph.node
        if node.op_type in kinds and node.name not in outside
        for name in (*node.input, *node.output)
        if name and name not in known and inferred.get(name) == TensorProto.FLOAT
    ]
    return list(dict.fromkeys(names))
