"""Class maps as REST answers: JSON, or the binary tensor data extension. Knows nothing of how they came about."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import numpy as np

from segx_core.runner import ClassMap
from segx_serve.http import Headers, Reply
from segx_serve.oip import coding
from segx_serve.oip.inference import Inference, Result
from segx_serve.oip.refusals import too_large
from segx_serve.oip.service import OipLimits
from segx_serve.oip.tensors import CLASSMAP

_BINARY = "application/octet-stream"
_JSON = "application/json"
# From here on compressing takes longer than a change of threads, bytes.
_SMALL = 2**16


async def answer(inference: Inference, result: Result, accept_encoding: str, limits: OipLimits) -> Reply:
    """The reply to an inference.

    Args:
        accept_encoding: the request's header. Inference-Header-Content-Length counts before compression.

    Raises:
        RefusalError: 413 where the JSON would pass the limit.
    """
    parts, media_type, headers = write(inference, result, limits)
    chosen = coding.accepted(accept_encoding)
    if not chosen:
        return Reply(200, b"".join(parts), media_type, headers)
    headers = (*headers, (b"content-encoding", chosen.encode()), (b"vary", b"accept-encoding"))
    if result.byte_size < _SMALL:
        return Reply(200, coding.encoded(parts, chosen), media_type, headers)
    return Reply(200, await asyncio.to_thread(coding.encoded, parts, chosen), media_type, headers)


def write(inference: Inference, result: Result, limits: OipLimits) -> tuple[Sequence[bytes | memoryview], str, Headers]:
    """The parts of a body, its media type and its headers."""
    count, height, width = result.shape
    begin = (
        f'{{{_id(inference.id)}"model_name":{json.dumps(result.model)},"model_version":{json.dumps(result.version)},'
        f'"outputs":[{{"name":"{CLASSMAP}","datatype":"{result.datatype}","shape":[{count},{height},{width}],'
    )
    slot = inference.wanted.slot
    if slot is not None:
        place = {"shared_memory_region": slot.region, "shared_memory_byte_size": result.byte_size}
        if slot.offset:
            place["shared_memory_offset"] = slot.offset
        return [f'{begin}"parameters":{json.dumps(place)}}}]}}'.encode()], _JSON, ()
    if inference.wanted.binary:
        head = f'{begin}"parameters":{{"binary_data_size":{result.byte_size}}}}}]}}'.encode()
        headers: Headers = ((b"inference-header-content-length", b"%d" % len(head)),)
        return [head, *(one.data.cast("B") for one in result.maps)], _BINARY, headers
    return [f'{begin}"data":['.encode(), *_numbers(result, limits), b"]}]}"], _JSON, ()


def _id(sent: str | None) -> str:
    return "" if sent is None else f'"id":{json.dumps(sent)},'


def _numbers(result: Result, limits: OipLimits) -> list[bytes]:
    """All class indices, separated by commas. JSON allows spaces, so all are padded to one width and looked up."""
    width = 4 if result.datatype == "UINT8" else 6
    if width * result.byte_size > limits.max_json * result.maps[0].itemsize:
        raise too_large(
            f"The class maps have {result.byte_size} bytes, too many for {limits.max_json} bytes of JSON. Ask for them "
            "in binary: 'parameters': {'binary_data': true} of the output."
        )
    highest = max(int(one.max()) for one in result.maps)
    table = np.array([f"{index:>{width - 1}}," for index in range(highest + 1)], f"S{width}")
    texts = [_looked_up(table, one) for one in result.maps]
    texts[-1] = texts[-1][:-1]
    return texts


def _looked_up(table: np.typing.NDArray[np.bytes_], one: ClassMap) -> bytes:
    return table[one].tobytes()
