"""float16 for CUDA: the network's weights and sums in half precision, everything around it in float32.

Pictures and class maps keep their types. Half precision can overflow and stay finite, so only closeness tells whether
it went well: gate.py compares. On CPUs there is nothing to gain.
"""

from __future__ import annotations

import onnx
from onnx import ModelProto
from onnxruntime.transformers.float16 import convert_float_to_float16

from segx_export import onnxgraph
from segx_export.quantize import prepare
from segx_export.quiet import quiet


def to_half(model: ModelProto) -> ModelProto:
    """A float16 model of a float32 deploy model; inputs and outputs keep their types."""
    prepared = prepare(model, raw=False)
    outside = list(onnxgraph.surroundings(prepared.graph))
    with quiet():
        converted = convert_float_to_float16(prepared, keep_io_types=True, node_block_list=outside)
    assert isinstance(converted, onnx.ModelProto)
    del converted.metadata_props[:]
    _drop_repeated(converted)
    onnxgraph.sort_nodes(converted.graph)  # the converter appends its casts at the end
    onnxgraph.check(converted)
    return converted


def _drop_repeated(model: ModelProto) -> None:
    """Keep one of casts that are alike: the converter makes one for every float32 reader, all of the same name."""
    made: set[str] = set()
    for node in list(model.graph.node):
        if node.output[0] in made:
            model.graph.node.remove(node)
        made.update(node.output)
