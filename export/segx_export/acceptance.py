"""Somebody else's ONNX file, read into memory, or one clear reason why it cannot be compressed.

What is accepted is a float32 network of one input with its weights in reach: no control flow, nothing quantized or
halved already. Local functions are written out, initialisers leave the list of inputs, and operator sets too old for
the quantizer are converted. Whether the file's card is true is Predictor's business.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, external_data_helper, inliner, version_converter

from segx_core import onnx_metadata
from segx_core.errors import ModelError
from segx_export import onnxgraph

OLDEST, CONVERTED = 13, 17
"""Scales per channel need opset 13 at least; older files are converted to 17."""
_LARGEST = 2**31 - 1  # bytes one protobuf can hold
_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"})
_OTHER_FLOATS = {
    TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16", TensorProto.DOUBLE: "float64",
}  # fmt: skip


def read_foreign(path: Path) -> ModelProto:
    """The model of a file, ready for the passes of export; the file is left as it is.

    Raises:
        ModelError: no such file, no whole ONNX file, or one that export cannot compress; says which and what to do.
    """
    onnx_metadata.read(path)  # refuses what is no ONNX file, or is cut off, in words
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"a whole ONNX file at {path}", f"a damaged one ({error})", "Download it again.") from error
    _load_weights(model, path)
    _fits_this_version(model, path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [item for item in graph.input if item.name not in stored]  # before IR 4 initialisers were inputs as well
    del graph.input[:]
    graph.input.extend(inputs)
    _is_float_network(model, path)
    return _modern(model, path)


def _load_weights(model: ModelProto, path: Path) -> None:
    """Weights that lie in files of their own, beside the model."""
    outside = [tensor for tensor in model.graph.initializer if external_data_helper.uses_external_data(tensor)]
    places = sorted({item.value for tensor in outside for item in tensor.external_data if item.key == "location"})
    missing = [place for place in places if not (path.parent / place).is_file()]
    if missing:
        raise ModelError(
            f"the weights of {path} beside it", f"no file {', '.join(missing)}", "Put it into the same folder."
        )
    size = sum((path.parent / place).stat().st_size for place in places)
    if size > _LARGEST:
        raise ModelError(
            "a network of less than 2 GB, which fits into one ONNX file", f"{size / 1e9:.1f} GB in {', '.join(places)}"
        )
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise ModelError(
            f"readable weights beside {path}", str(error), "Export or download the model again."
        ) from error


def _fits_this_version(model: ModelProto, path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    opset = opset_of(model)
    if not 1 <= opset <= newest:
        raise ModelError(
            f"an ONNX file of opset {newest} or older",
            f"opset {opset} in {path}",
            f"Export it again with opset {CONVERTED} to {min(newest, 21)}.",
        )


def _is_float_network(model: ModelProto, path: Path) -> None:
    graph = model.graph
    kinds = {node.op_type for node in graph.node}
    if len(graph.input) != 1:
        names = ", ".join(f"'{item.name}'" for item in graph.input) or "none"
        raise ModelError(f"a network of one input, the picture, in {path}", f"inputs {names}", "Export it with one.")
    if flow := sorted(kinds & _FLOW):
        raise ModelError(
            f"a graph without control flow in {path}",
            f"{', '.join(flow)}",
            "Trace the network for one size or with dynamic axes instead of scripting it.",
        )
    if quantized := sorted(kind for kind in kinds if kind in _QUANTIZED or kind.startswith("QLinear")):
        raise ModelError(
            f"a float32 network in {path}",
            f"one that is quantized already ({', '.join(quantized)})",
            "Give the float file it was made of.",
        )
    types = {tensor.data_type for tensor in graph.initializer} | {graph.input[0].type.tensor_type.elem_type}
    types |= {item.t.data_type for node in graph.node for item in node.attribute if item.HasField("t")}
    # Constants in float64 turn up in float32 networks; weights and pictures in it do not.
    halves = types & (_OTHER_FLOATS.keys() - {TensorProto.DOUBLE})
    doubles = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1} & {TensorProto.DOUBLE}
    if found := sorted(_OTHER_FLOATS[kind] for kind in halves | doubles):
        raise ModelError(
            f"a float32 network in {path}", f"one in {', '.join(found)}", "Give the float32 file, or export one."
        )
    if not kinds & onnxgraph.HEAVY:
        raise ModelError(f"a network in {path}", "a graph without a convolution or matrix product")


def _modern(model: ModelProto, path: Path) -> ModelProto:
    opset = opset_of(model)
    if opset >= OLDEST:
        return model
    try:
        return version_converter.convert_version(model, CONVERTED)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"an ONNX file of opset {OLDEST} or newer",
            f"opset {opset} in {path}, which cannot be converted ({reason})",
            f"Export it again with opset {CONVERTED}.",
        ) from error


def opset_of(model: ModelProto) -> int:
    """Version of ONNX's own operator set; 0 where the model names none."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
