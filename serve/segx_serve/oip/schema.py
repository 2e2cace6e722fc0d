"""The protocol's messages over gRPC as one readable table, and the classes made of it.

The field numbers are the public protocol's; of its messages stands here what this service reads or writes. The classes
live in a pool of their own, so that a program may hold another copy of the protocol, and any protobuf 5 or later will
do: there is no generated code. It knows nothing of calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segx_core.errors import SetupError
from segx_serve.oip.refusals import bad

try:
    from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.json_format import ParseDict
    from google.protobuf.message import DecodeError
    from google.protobuf.message_factory import GetMessageClass
except ImportError as error:
    raise SetupError("protobuf for gRPC", "none", 'Install it: pip install "segx[grpc]".') from error

PACKAGE = "inference"
# A message begins at the margin; its fields follow as "number type name", a map's keys being texts. After "/" the
# choice a field belongs to. An enumeration's values count from 0.
_TABLE = """
ServerLiveRequest
ServerLiveResponse
  1 bool live
ServerReadyRequest
ServerReadyResponse
  1 bool ready
ModelReadyRequest
  1 string name
  2 string version
ModelReadyResponse
  1 bool ready
ServerMetadataRequest
ServerMetadataResponse
  1 string name
  2 string version
  3 repeated string extensions
ModelMetadataRequest
  1 string name
  2 string version
TensorMetadata
  1 string name
  2 string datatype
  3 repeated int64 shape
ModelMetadataResponse
  1 string name
  2 repeated string versions
  3 string platform
  4 repeated TensorMetadata inputs
  5 repeated TensorMetadata outputs
InferParameter
  1 bool bool_param / choice
  2 int64 int64_param / choice
  3 string string_param / choice
  4 double double_param / choice
  5 uint64 uint64_param / choice
InferTensorContents
  1 repeated bool bool_contents
  2 repeated int32 int_contents
  3 repeated int64 int64_contents
  4 repeated uint32 uint_contents
  5 repeated uint64 uint64_contents
  6 repeated float fp32_contents
  7 repeated double fp64_contents
  8 repeated bytes bytes_contents
InferInputTensor
  1 string name
  2 string datatype
  3 repeated int64 shape
  4 map InferParameter parameters
  5 InferTensorContents contents
InferRequestedOutputTensor
  1 string name
  2 map InferParameter parameters
ModelInferRequest
  1 string model_name
  2 string model_version
  3 string id
  4 map InferParameter parameters
  5 repeated InferInputTensor inputs
  6 repeated InferRequestedOutputTensor outputs
  7 repeated bytes raw_input_contents
InferOutputTensor
  1 string name
  2 string datatype
  3 repeated int64 shape
  4 map InferParameter parameters
  5 InferTensorContents contents
ModelInferResponse
  1 string model_name
  2 string model_version
  3 string id
  4 map InferParameter parameters
  5 repeated InferOutputTensor outputs
  6 repeated bytes raw_output_contents
ModelStreamInferResponse
  1 string error_message
  2 ModelInferResponse infer_response
enum DataType
  TYPE_INVALID TYPE_BOOL TYPE_UINT8 TYPE_UINT16 TYPE_UINT32 TYPE_UINT64 TYPE_INT8 TYPE_INT16 TYPE_INT32 TYPE_INT64
  TYPE_FP16 TYPE_FP32 TYPE_FP64 TYPE_STRING TYPE_BF16
enum Format
  FORMAT_NONE FORMAT_NHWC FORMAT_NCHW
enum Kind
  KIND_AUTO KIND_GPU KIND_CPU KIND_MODEL
ModelInput
  1 string name
  2 DataType data_type
  3 Format format
  4 repeated int64 dims
  8 bool optional
ModelOutput
  1 string name
  2 DataType data_type
  3 repeated int64 dims
ModelInstanceGroup
  1 string name
  2 int32 count
  4 Kind kind
ModelDynamicBatching
  1 repeated int32 preferred_batch_size
  2 uint64 max_queue_delay_microseconds
ModelParameter
  1 string string_value
Latest
  1 uint32 num_versions
ModelVersionPolicy
  1 Latest latest
ModelConfig
  1 string name
  2 string platform
  3 ModelVersionPolicy version_policy
  4 int32 max_batch_size
  5 repeated ModelInput input
  6 repeated ModelOutput output
  7 repeated ModelInstanceGroup instance_group
  11 ModelDynamicBatching dynamic_batching
  14 map ModelParameter parameters
ModelConfigRequest
  1 string name
  2 string version
ModelConfigResponse
  1 ModelConfig config
ModelStatisticsRequest
  1 string name
  2 string version
StatisticDuration
  1 uint64 count
  2 uint64 ns
InferStatistics
  1 StatisticDuration success
  2 StatisticDuration fail
  3 StatisticDuration queue
  4 StatisticDuration compute_input
  5 StatisticDuration compute_infer
  6 StatisticDuration compute_output
  7 StatisticDuration cache_hit
  8 StatisticDuration cache_miss
InferBatchStatistics
  1 uint64 batch_size
  2 StatisticDuration compute_input
  3 StatisticDuration compute_infer
  4 StatisticDuration compute_output
ModelStatistics
  1 string name
  2 string version
  3 uint64 last_inference
  4 uint64 inference_count
  5 uint64 execution_count
  6 InferStatistics inference_stats
  7 repeated InferBatchStatistics batch_stats
ModelStatisticsResponse
  1 repeated ModelStatistics model_stats
ModelRepositoryParameter
  1 bool bool_param / choice
  2 int64 int64_param / choice
  3 string string_param / choice
  4 bytes bytes_param / choice
RepositoryIndexRequest
  1 string repository_name
  2 bool ready
ModelIndex
  1 string name
  2 string version
  3 string state
  4 string reason
RepositoryIndexResponse
  1 repeated ModelIndex models
RepositoryModelLoadRequest
  1 string repository_name
  2 string model_name
  3 map ModelRepositoryParameter parameters
RepositoryModelLoadResponse
RepositoryModelUnloadRequest
  1 string repository_name
  2 string model_name
  3 map ModelRepositoryParameter parameters
RepositoryModelUnloadResponse
SystemSharedMemoryStatusRequest
  1 string name
RegionStatus
  1 string name
  2 string key
  3 uint64 offset
  4 uint64 byte_size
SystemSharedMemoryStatusResponse
  1 map RegionStatus regions
SystemSharedMemoryRegisterRequest
  1 string name
  2 string key
  3 uint64 offset
  4 uint64 byte_size
SystemSharedMemoryRegisterResponse
SystemSharedMemoryUnregisterRequest
  1 string name
SystemSharedMemoryUnregisterResponse
"""


def message_classes() -> dict[str, Any]:
    """Message name -> its class, made anew with every call."""
    file = FileDescriptorProto(name="segx/inference.proto", package=PACKAGE, syntax="proto3")
    lines = _TABLE.strip().splitlines()
    enums = {line.removeprefix("enum ") for line in lines if line.startswith("enum ")}
    for line in lines:
        if not line.startswith(" "):
            is_enum = line.startswith("enum ")
            owner = (file.enum_type if is_enum else file.message_type).add(name=line.removeprefix("enum "))
        elif is_enum:
            for value in line.split():
                owner.value.add(name=value, number=len(owner.value))
        else:
            _field(owner, line.split(), enums)
    pool = DescriptorPool()
    pool.Add(file)
    found = pool.FindFileByName(file.name).message_types_by_name
    return {name: GetMessageClass(descriptor) for name, descriptor in found.items()}


def filled(message: type[Any], values: Mapping[str, Any]) -> Any:
    """A message of this class with these values, by field name; enumerations by the names of their values."""
    return ParseDict(values, message())


def received(message: type[Any], data: bytes) -> Any:
    """A message of this class as it came over the wire.

    Raises:
        RefusalError: 400 for bytes that are none.
    """
    try:
        return message.FromString(data)
    except DecodeError:
        raise bad(f"The message is no {message.__name__}.") from None


def _field(message: DescriptorProto, words: list[str], enums: set[str]) -> None:
    number, *labels, kind, name = words[: words.index("/")] if "/" in words else words
    field = message.field.add(name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL)
    if labels:
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if "/" in words:
        if not message.oneof_decl:
            message.oneof_decl.add(name=words[-1])
        field.oneof_index = 0
    if labels == ["map"]:
        entry = message.nested_type.add(name=_entry(name))
        entry.options.map_entry = True
        _field(entry, ["1", "string", "key"], enums)
        _field(entry, ["2", kind, "value"], enums)
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{message.name}.{entry.name}"
    elif kind[0].isupper():
        field.type = FieldDescriptorProto.TYPE_ENUM if kind in enums else FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")


def _entry(name: str) -> str:
    """The name protobuf wants for a map field's entries."""
    return name.title().replace("_", "") + "Entry"
