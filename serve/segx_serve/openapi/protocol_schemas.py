"""Shapes of the Open Inference Protocol's requests and answers, as far as a schema can tell them.

What one field means for another (how much data a shape needs) the service checks and no schema can say.
"""

from __future__ import annotations

from segx_serve.oip.tensors import CLASSMAP, ENCODED, IMAGE
from segx_serve.openapi.parts import COUNT, FLAG, TEXT, Node, array, record, ref
from segx_serve.settings import Settings

_POSITIVE: Node = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
_PLACE: Node = {"type": "integer", "minimum": 0, "maximum": 2**48}


def schemas(settings: Settings) -> Node:
    """Name -> schema."""
    return {**_requests(settings.max_pictures), **_answers()}


def _requests(max_pictures: int) -> Node:
    pictures: Node = {**_POSITIVE, "maximum": max_pictures}
    pixel: Node = {"type": "integer", "minimum": 0, "maximum": 255}
    pixels: Node = {"anyOf": [array(pixel), array(array(array(array(pixel))))], "description": "Flat or nested"}
    files: Node = {
        "anyOf": [array(_base64()), array(array(_base64()))],
        "description": "Files as base64, flat or nested",
    }
    image_shape = {
        "type": "array",
        "prefixItems": [pictures, _POSITIVE, _POSITIVE, {"const": 3}],
        "minItems": 4,
        "maxItems": 4,
        "description": "[pictures, height, width, 3]",
    }
    files_shape = {
        "type": "array",
        "prefixItems": [pictures, {"const": 1}],
        "minItems": 1,
        "maxItems": 2,
        "description": "[pictures, 1] or [pictures]",
    }
    output = record(("parameters",), name={"const": CLASSMAP}, parameters=_parameters(binary_data=FLAG))
    output["description"] = "Which output, and how: in JSON, in binary, or in shared memory"
    return {
        "InferRequest": record(
            ("id", "parameters", "outputs"),
            id={"type": ["string", "null"], "maxLength": 1024, "description": "Comes back with the answer"},
            inputs=array({"anyOf": [ref("ImageInput"), ref("EncodedInput")]}, minItems=1, maxItems=1),
            outputs={"type": ["array", "null"], "items": output, "maxItems": 1},
            parameters=_parameters(binary_data_output=FLAG),
        ),
        "ImageInput": _input(IMAGE, "UINT8", image_shape, pixels, "RGB pixels, row by row"),
        "EncodedInput": _input(ENCODED, "BYTES", files_shape, files, "Picture files"),
        "Registration": record(
            ("offset",),
            key={
                **TEXT,
                "pattern": "^/?[A-Za-z0-9._-]{1,200}$",
                "description": "The shared memory object's name, as shm_open knows it",
            },
            offset=_PLACE,
            byte_size={**_PLACE, "minimum": 1},
        ),
    }


def _input(name: str, datatype: str, shape: Node, data: Node, description: str) -> Node:
    node = record(
        ("data", "parameters"),
        name={"const": name},
        datatype={"const": datatype},
        shape=shape,
        data=data,
        parameters=_parameters(
            binary_data_size={"type": ["integer", "null"], "description": "Bytes of this input behind the JSON"}
        ),
    )
    node["description"] = f"{description}: in `data`, behind the JSON, or in shared memory"
    node["anyOf"] = [{"required": ["data"]}, {"required": ["parameters"]}]
    return node


def _parameters(**own: Node) -> Node:
    """Parameters with a place in shared memory among them; others are ignored."""
    memory = {
        "shared_memory_region": {"type": ["string", "null"], "description": "With shared_memory_byte_size"},
        "shared_memory_offset": {"description": "Bytes from the region's begin; 0 when left out"},
        "shared_memory_byte_size": {"description": "Bytes"},
    }
    shared = {} if "binary_data_output" in own else memory
    return {"type": ["object", "null"], "properties": {**own, **shared}}


def _base64() -> Node:
    return {**TEXT, "contentEncoding": "base64"}


def _answers() -> Node:
    size = {"type": "integer", "minimum": -1}
    tensor = record(name=TEXT, datatype=TEXT, shape=array(size))
    duration = record(count=COUNT, ns=COUNT)
    stages = {"compute_input": duration, "compute_infer": duration, "compute_output": duration}
    others = ("success", "fail", "queue", "cache_hit", "cache_miss")
    statistics = record(
        name=TEXT,
        version=TEXT,
        last_inference={**COUNT, "description": "Milliseconds since 1970; 0 before the first"},
        inference_count=COUNT,
        execution_count=COUNT,
        inference_stats=record(**dict.fromkeys(others, duration), **stages),
        batch_stats=array(record(batch_size=COUNT, **stages)),
    )
    place = record(
        ("binary_data_size", "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"),
        binary_data_size=COUNT,
        shared_memory_region=TEXT,
        shared_memory_byte_size=COUNT,
        shared_memory_offset=COUNT,
    )
    classmap = record(
        ("data", "parameters"),
        name={"const": CLASSMAP},
        datatype={"enum": ["UINT8", "UINT16"]},
        shape={**array(COUNT, minItems=3, maxItems=3), "description": "[pictures, height, width]"},
        data=array(COUNT),
        parameters=place,
    )
    return {
        "InferResponse": record(
            ("id",), id=TEXT, model_name=TEXT, model_version=TEXT, outputs=array(classmap, minItems=1, maxItems=1)
        ),
        "ModelMetadata": record(
            name=TEXT, versions=array(TEXT), platform=TEXT, inputs=array(tensor), outputs=array(tensor)
        ),
        "ModelReady": record(name=TEXT, ready=FLAG),
        "ModelConfig": _config(size),
        "Stats": record(model_stats=array(statistics)),
        "IndexEntry": record(
            name=TEXT,
            version=TEXT,
            state={"enum": ["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]},
            reason=TEXT,
        ),
        "Region": record(name=TEXT, key=TEXT, offset=COUNT, byte_size=COUNT),
    }


def _config(size: Node) -> Node:
    given = record(("format",), name=TEXT, data_type=TEXT, format=TEXT, dims=array(size), optional=FLAG)
    return record(
        name=TEXT,
        platform=TEXT,
        version_policy=record(latest=record(num_versions=COUNT)),
        max_batch_size={**COUNT, "description": "Most pictures in one request"},
        input=array(given),
        output=array(record(name=TEXT, data_type=TEXT, dims=array(size))),
        instance_group=array(record(name=TEXT, kind={"enum": ["KIND_CPU", "KIND_GPU"]}, count=COUNT)),
        dynamic_batching=record(preferred_batch_size=array(COUNT), max_queue_delay_microseconds=COUNT),
        parameters={"type": "object", "additionalProperties": record(string_value=TEXT)},
    )
