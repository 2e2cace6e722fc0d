"""Pictures as tensors that a graph takes, exactly as Predictor would feed them: for calibration and for comparisons.

A native segx file takes the picture itself; for a third-party one it is resized or padded, put into the graph's channel
order and layout, and normalised. It runs nothing, and knows nothing of what the tensors are used for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper

from segx_core import thirdparty
from segx_core.card import Card
from segx_core.feeds import complete
from segx_core.fitting import Port
from segx_core.runner import Tensor, UInt8

Feed = dict[str, Tensor]


def calibration_feeds(card: Card, ports: Sequence[Port], pictures: Iterable[UInt8]) -> Iterator[Feed]:
    """One feed a picture: every input of the graph by name.

    Args:
        card: says what is to be done to a picture, and which other inputs are optional (they are filled).
        ports: what the graph takes; a fixed batch size is filled up with copies.
        pictures: (H, W, 3) uint8 RGB each.

    Raises:
        DataError: the graph needs more than the picture.
    """
    image = card.image
    port = next(port for port in ports if port.name == image.name)
    count = port.shape[0] if port.shape and isinstance(port.shape[0], int) else 1
    for picture in pictures:
        batch = np.repeat(thirdparty.bring(np.asarray(picture)[None], card.size), count, axis=0)
        yield complete({image.name: thirdparty.prepare(batch, image)}, card, ports)


def feeder(card: Card, model: ModelProto) -> Callable[[UInt8], Feed]:
    """A function from a picture (H, W, 3) to the feed of one run of `model`."""
    ports = ports_of(model)
    return lambda picture: next(calibration_feeds(card, ports, [picture]))


def ports_of(model: ModelProto) -> tuple[Port, ...]:
    """The inputs of a model in memory, as ONNX Runtime would tell them of its file."""
    stored = {tensor.name for tensor in model.graph.initializer}  # before IR 4, initialisers were inputs as well
    return tuple(_port(item) for item in model.graph.input if item.name not in stored)


def output_ports(model: ModelProto) -> tuple[Port, ...]:
    """Its outputs, likewise."""
    return tuple(_port(item) for item in model.graph.output)


def _port(item: ValueInfoProto) -> Port:
    tensor = item.type.tensor_type
    axes = [axis.dim_value if axis.HasField("dim_value") else (axis.dim_param or None) for axis in tensor.shape.dim]
    return Port(item.name, str(helper.tensor_dtype_to_np_dtype(tensor.elem_type)), tuple(axes))
