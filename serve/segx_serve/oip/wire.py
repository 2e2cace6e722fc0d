"""Inference requests as REST writes them: JSON, the binary tensor data extension, and raw picture bodies.

The usual request is a few hundred bytes of JSON and the picture behind them, so reading one costs little more than
parsing that JSON. It knows nothing of models: whether the tensors suit one is found out later.
"""

from __future__ import annotations

import gc
import json
from typing import Any, NoReturn

from segx_serve.oip import tensors
from segx_serve.oip.inference import Inference, Wanted, only_output
from segx_serve.oip.refusals import bad, quoted, too_large
from segx_serve.oip.regions import Slot
from segx_serve.oip.service import OipLimits
from segx_serve.oip.tensors import Payload, Tensor

LENGTH = b"inference-header-content-length"
"""The header that says how many bytes of a body are JSON."""
_LONGEST_ID = 1024
_MOST_INPUTS = 8
# A request has a handful of objects, and each costs a call. Counting braces costs nothing.
_MOST_OBJECTS = 256
# From here on pausing the garbage collector pays, bytes.
_LARGE = 2**16


def parse(body: bytes, header_length: str | None, limits: OipLimits, decoder: json.JSONDecoder) -> Inference:
    """An inference request.

    Args:
        body: already decompressed.
        header_length: Inference-Header-Content-Length: bytes of JSON at the begin of the body. None: all of it. 0:
            none, the body is one picture file.
        decoder: from `strict_decoder`.

    Raises:
        RefusalError: 400, 413.
    """
    if header_length is None:
        return _request(_object(body, limits, decoder), memoryview(b""))
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) <= 12):
        raise bad(f"Inference-Header-Content-Length must be a whole number, got {quoted(header_length)}.")
    length = int(header_length)
    if length == 0:
        if not body:
            raise bad("The body is empty: with an Inference-Header-Content-Length of 0 it is one picture file.")
        return Inference(None, tensors.from_raw(body), Wanted(binary=True))
    if length > len(body):
        raise bad(f"Inference-Header-Content-Length is {length}, the body has only {len(body)} bytes.")
    return _request(_object(body[:length], limits, decoder), memoryview(body)[length:])


def strict_decoder() -> json.JSONDecoder:
    """JSON as its standard has it: no NaN, no Infinity, no name twice in one object."""
    return json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_unique)


def json_object(body: bytes, limits: OipLimits, decoder: json.JSONDecoder) -> dict[str, Any]:
    """A body that may be left out and else is a JSON object.

    Raises:
        RefusalError: 400, 413.
    """
    return _object(body, limits, decoder) if body.strip() else {}


def whole(value: object) -> object:
    """A number that JSON wrote as 4096.0 or 4.096e3 is whole all the same; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _decoded(text: bytes, decoder: json.JSONDecoder) -> object:
    """Large JSON without garbage collection, which would visit the lists of pixels over and over while they grow."""
    if len(text) < _LARGE or not gc.isenabled():
        return decoder.decode(text.decode())
    gc.disable()
    try:
        return decoder.decode(text.decode())
    finally:
        gc.enable()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _object(text: bytes, limits: OipLimits, decoder: json.JSONDecoder) -> dict[str, Any]:
    if len(text) > limits.max_json:
        raise too_large(
            f"JSON may have {limits.max_json} bytes, got {len(text)}. Send tensors with the binary data extension."
        )
    if text.count(b"{") > _MOST_OBJECTS:
        raise bad(f"The JSON has more than {_MOST_OBJECTS} objects; no request needs them.")
    try:
        value = _decoded(text, decoder)
    except UnicodeDecodeError as error:
        raise bad(
            f"The JSON is not UTF-8 at byte {error.start}. Where tensor data follows it, the header "
            "Inference-Header-Content-Length must say how long it is."
        ) from None
    except json.JSONDecodeError as error:
        raise bad(f"The JSON is broken at character {error.pos}: {error.msg}.") from None
    except ValueError as error:
        # NaN, a name twice, a number of thousands of digits.
        raise bad(f"The JSON is refused: {str(error)[:100]}.") from None
    except RecursionError:
        raise bad("The JSON is nested too deeply.") from None
    if type(value) is not dict:
        raise bad(f"The JSON must be an object, got {quoted(value)}.")
    return value


def _request(request: dict[str, Any], blobs: memoryview) -> Inference:
    inputs = request.get("inputs")
    if type(inputs) is not list or not 1 <= len(inputs) <= _MOST_INPUTS:
        raise bad(f"'inputs' must be a list of 1 to {_MOST_INPUTS} inputs, got {quoted(inputs)}.")
    found: list[Tensor] = []
    at = 0
    for given in inputs:
        tensor, at = _input(given, blobs, at)
        found.append(tensor)
    if at != len(blobs):
        raise bad(f"{len(blobs) - at} bytes follow the inputs' data; the inputs' binary_data_size count {at}.")
    parameters = _parameters(request, "the request")
    binary = _flag(parameters, "binary_data_output", default=False)
    request_id = request.get("id")
    if request_id is not None and (type(request_id) is not str or len(request_id) > _LONGEST_ID):
        raise bad(f"'id' must be a text of at most {_LONGEST_ID} characters, got {quoted(request_id)}.")
    return Inference(request_id, found, _wanted(request.get("outputs"), binary))


def _input(given: object, blobs: memoryview, at: int) -> tuple[Tensor, int]:
    """One input, and where in the blobs the next one begins."""
    if type(given) is not dict:
        raise bad(f"Every input must be an object, got {quoted(given)}.")
    name, datatype = given.get("name"), given.get("datatype")
    if type(name) is not str:
        raise bad(f"An input's 'name' must be a text, got {quoted(name)}.")
    if type(datatype) is not str:
        raise bad(f"The 'datatype' of input {quoted(name)} must be a text, got {quoted(datatype)}.")
    shape = tensors.check_shape(given.get("shape"), name)
    parameters = _parameters(given, f"input {quoted(name)}")
    slot = slot_of(parameters)
    size = parameters.get("binary_data_size")
    data = given.get("data")
    if (slot is not None) + (size is not None) + (data is not None) != 1:
        raise bad(
            f"Input {quoted(name)} needs its data in exactly one way: 'data', the parameter 'binary_data_size', or "
            "'shared_memory_region' with 'shared_memory_byte_size'."
        )
    payload: Payload
    if size is not None:
        if type(size) is not int or size < 0:
            raise bad(f"'binary_data_size' of input {quoted(name)} must be a whole number from 0, got {quoted(size)}.")
        if size > len(blobs) - at:
            raise bad(
                f"Input {quoted(name)} has a binary_data_size of {quoted(size)}, {len(blobs) - at} bytes are left in "
                "the body. Inference-Header-Content-Length must be the length of the JSON alone."
            )
        payload = blobs[at : at + size]
        at += size
    elif slot is not None:
        payload = slot
    else:
        if type(data) is not list:
            raise bad(f"'data' of input {quoted(name)} must be a list, got {quoted(data)}.")
        payload = data
    return Tensor(name, datatype, shape, payload), at


def _wanted(outputs: object, binary: bool) -> Wanted:
    if outputs is None or outputs == []:
        return Wanted(binary)
    if type(outputs) is not list:
        raise bad(f"'outputs' must be a list, got {quoted(outputs)}.")
    for output in outputs:
        if type(output) is not dict:
            raise bad(f"Every output must be an object, got {quoted(output)}.")
        only_output(output.get("name"))
    if len(outputs) > 1:
        raise bad(f"Output '{tensors.CLASSMAP}' is asked for {len(outputs)} times.")
    parameters = _parameters(outputs[0], f"output '{tensors.CLASSMAP}'")
    return wanted_of(parameters, binary)


def wanted_of(parameters: dict[str, Any], binary: bool) -> Wanted:
    """What an output's parameters ask for.

    Raises:
        RefusalError: 400.
    """
    if parameters.get("classification"):
        raise bad("Class maps have no classification output: every pixel is its class's index already.")
    return Wanted(_flag(parameters, "binary_data", default=binary), slot_of(parameters))


def slot_of(parameters: dict[str, Any]) -> Slot | None:
    """The place in shared memory that an input's or output's parameters name.

    Raises:
        RefusalError: 400.
    """
    region = parameters.get("shared_memory_region")
    if region is None:
        return None
    offset = parameters.get("shared_memory_offset", 0)
    size = parameters.get("shared_memory_byte_size")
    if type(region) is not str or type(offset) is not int or type(size) is not int or offset < 0 or size < 1:
        raise bad(
            "Shared memory needs 'shared_memory_region' (a text), 'shared_memory_byte_size' (a whole number from 1) "
            f"and at most 'shared_memory_offset' (a whole number from 0), got {quoted(region)}, {quoted(size)}, "
            f"{quoted(offset)}."
        )
    return Slot(region, offset, size)


def _parameters(of: dict[str, Any], whose: str) -> dict[str, Any]:
    parameters = of.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise bad(f"The 'parameters' of {whose} must be an object, got {quoted(parameters)}.")
    return parameters


def _flag(parameters: dict[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise bad(f"'{name}' must be true or false, got {quoted(value)}.")
    return value
