"""The tensors every model takes and gives, and the way from what a client sent to pictures.

    image    UINT8 [n, height, width, 3]   RGB pixels
    encoded  BYTES [n, 1] or [n]           picture files: JPEG, PNG, WebP and what else core decodes; instead of image
    classmap UINT8 or UINT16 [n, height, width]

It knows nothing of HTTP or gRPC: both hand in `Tensor`s, whose payload is raw bytes, a JSON list or shared memory.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from struct import Struct
from typing import Any, TypeAlias

import numpy as np

from segx_core.runner import UInt8
from segx_serve.oip.refusals import bad, quoted, shaped, too_large
from segx_serve.oip.regions import Regions, Slot
from segx_serve.oip.service import ModelInfo, OipLimits

IMAGE = "image"
ENCODED = "encoded"
CLASSMAP = "classmap"

Payload: TypeAlias = bytes | memoryview | list[Any] | Slot
"""Raw little-endian bytes in row-major order (BYTES elements behind their u32 length), a JSON list, or a place in
shared memory that holds raw bytes."""

_LENGTH = Struct("<I")
_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input as a client sent it; only its types have been looked at."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    payload: Payload


def check_shape(shape: object, name: str) -> tuple[int, ...]:
    """Whole numbers from 1, at most eight of them.

    Raises:
        RefusalError: 400.
    """
    if type(shape) is not list or not 1 <= len(shape) <= 8:
        raise bad(f"The shape of input {quoted(name)} must be a list of 1 to 8 whole numbers, got {quoted(shape)}.")
    for size in shape:
        if type(size) is not int or not 0 < size <= _MOST:
            raise bad(f"The shape of input {quoted(name)} must hold whole numbers from 1, got {quoted(size)}.")
    return tuple(shape)


def pictures(
    tensors: Sequence[Tensor], info: ModelInfo, limits: OipLimits, regions: Regions | None
) -> list[bytes | UInt8]:
    """The pictures of a request: files as bytes, pixels as read-only (H, W, 3) views into the payload.

    Raises:
        RefusalError: 400 for whatever contradicts the model's metadata, 413 for too many pictures or bytes.
    """
    tensor = _only(tensors, info)
    return _encoded(tensor, limits, regions) if tensor.name == ENCODED else _pixels(tensor, info.size, limits, regions)


def from_raw(body: bytes) -> list[Tensor]:
    """A body that is one picture file and nothing else."""
    return [Tensor(ENCODED, "BYTES", (1, 1), [body])]


def _only(tensors: Sequence[Tensor], info: ModelInfo) -> Tensor:
    for tensor in tensors:
        if tensor.name not in (IMAGE, ENCODED):
            raise bad(
                f"Model {quoted(info.name)} has no input {quoted(tensor.name)}. It takes '{IMAGE}' (UINT8 pixels) or "
                f"'{ENCODED}' (BYTES, picture files)."
            )
    if len(tensors) != 1:
        given = ", ".join(f"'{tensor.name}'" for tensor in tensors[:4]) or "none"
        raise bad(f"Expected exactly one input, either '{IMAGE}' or '{ENCODED}', got {len(tensors)}: {given}.")
    return tensors[0]


def _count(count: int, limits: OipLimits) -> None:
    if count > limits.max_pictures:
        raise too_large(
            f"A request may hold {limits.max_pictures} pictures, got {count}. Send the others in further requests."
        )


def _datatype(tensor: Tensor, expected: str) -> None:
    if tensor.datatype != expected:
        raise bad(f"Input '{tensor.name}' is {expected}, got {quoted(tensor.datatype)}.")


def _bytes(tensor: Tensor, limits: OipLimits, regions: Regions | None) -> bytes | memoryview | list[Any]:
    payload = tensor.payload
    if not isinstance(payload, Slot):
        return payload
    if regions is None:
        raise bad("This service takes no shared memory. Send the tensor's data in the request.")
    if payload.size > limits.max_body:
        raise too_large(f"Input '{tensor.name}' takes {payload.size} bytes, {limits.max_body} are allowed.")
    return regions.read(payload)


def _pixels(
    tensor: Tensor, size: tuple[int, int] | None, limits: OipLimits, regions: Regions | None
) -> list[bytes | UInt8]:
    _datatype(tensor, "UINT8")
    shape = tensor.shape
    height, width = size or (-1, -1)
    fits = len(shape) == 4 and shape[3] == 3 and (size is None or shape[1:3] == size)
    if not fits:
        raise bad(f"Input '{IMAGE}' has the shape [-1,{height},{width},3], got {shaped(shape)}.")
    _count(shape[0], limits)
    data = _bytes(tensor, limits, regions)
    expected = prod(shape)
    if isinstance(data, list):
        data = _whole(_flat(data, shape, IMAGE))
    if len(data) != expected:
        raise bad(f"Input '{IMAGE}' of shape {shaped(shape)} has {expected} bytes, got {len(data)}.")
    return list(np.frombuffer(data, np.uint8).reshape(shape))


def _whole(values: list[Any]) -> bytes:
    """Whole numbers of 0 to 255 as bytes."""
    if not set(map(type, values)) <= {int}:
        odd = next(value for value in values if type(value) is not int)
        raise bad(f"The data of input '{IMAGE}' must be whole numbers of 0 to 255, got {quoted(odd)}.")
    try:
        return bytes(values)
    except (ValueError, OverflowError):
        odd = next(value for value in values if not 0 <= value <= 255)
        raise bad(f"The data of input '{IMAGE}' must be whole numbers of 0 to 255, got {quoted(odd)}.") from None


def _encoded(tensor: Tensor, limits: OipLimits, regions: Regions | None) -> list[bytes | UInt8]:
    _datatype(tensor, "BYTES")
    shape = tensor.shape
    if len(shape) > 2 or shape[1:] not in ((), (1,)):
        raise bad(f"Input '{ENCODED}' has the shape [-1,1] or [-1], one picture an element, got {shaped(shape)}.")
    count = shape[0]
    _count(count, limits)
    data = _bytes(tensor, limits, regions)
    if not isinstance(data, list):
        return _elements(memoryview(data), count)
    values = _flat(data, shape, ENCODED)
    if len(values) != count:
        raise bad(f"Input '{ENCODED}' of shape {shaped(shape)} has {count} elements, got {len(values)}.")
    return [value if isinstance(value, bytes) else _from_text(value) for value in values]


def _elements(data: memoryview, count: int) -> list[bytes | UInt8]:
    """BYTES elements, each behind its length."""
    found: list[bytes | UInt8] = []
    start, end = 0, len(data)
    for index in range(count):
        body = start + 4
        if body > end:
            raise bad(
                f"Input '{ENCODED}' has {count} elements; its {end} bytes end before element {index}. Every element "
                "stands behind its length, a little-endian 32-bit number."
            )
        start = body + _LENGTH.unpack_from(data, body - 4)[0]
        if start > end:
            raise bad(
                f"Element {index} of input '{ENCODED}' says it has {start - body} bytes, {end - body} are there. Every "
                "element stands behind its length, a little-endian 32-bit number."
            )
        found.append(bytes(data[body:start]))
    if start != end:
        raise bad(f"Input '{ENCODED}' has {end - start} bytes past its {count} elements.")
    return found


def _from_text(value: object) -> bytes:
    """A picture file written in JSON. No picture format is UTF-8 text, so it is always base64."""
    if not isinstance(value, str):
        raise bad(f"The data of input '{ENCODED}' in JSON must be base64 texts, got {quoted(value)}.")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise bad(
            f"The data of input '{ENCODED}' in JSON must be base64, got {quoted(value)}. Send picture files with the "
            "binary tensor data extension, which needs no base64."
        ) from None


def _flat(data: list[Any], shape: tuple[int, ...], name: str) -> list[Any]:
    """Data that is flat or nested as its shape says, flat."""
    if not data or type(data[0]) is not list:
        return data
    level = data
    for depth in range(len(shape)):
        if len(level) != prod(shape[: depth + 1]):
            break
        if depth == len(shape) - 1:
            return level
        if not all(type(part) is list and len(part) == shape[depth + 1] for part in level):
            break
        level = list(chain.from_iterable(level))
    raise bad(f"The nested data of input {quoted(name)} does not have the shape {shaped(shape)}.")
