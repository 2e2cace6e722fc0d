"""One inference from tensors to class maps, the same for REST and gRPC.

It knows nothing of how either of them writes requests and answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segx_core.runner import ClassMap
from segx_serve.oip import tensors
from segx_serve.oip.refusals import bad, quoted
from segx_serve.oip.regions import Regions, Slot
from segx_serve.oip.service import ModelInfo, OipLimits, Service


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a client wants its class maps."""

    binary: bool = False
    slot: Slot | None = None
    """Where in shared memory to write them, instead of sending them."""


@dataclass(frozen=True, slots=True)
class Inference:
    """A request as either transport read it."""

    id: str | None
    tensors: Sequence[tensors.Tensor]
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Result:
    """What an inference gave."""

    model: str
    version: str
    datatype: str
    """UINT8 or UINT16."""
    shape: tuple[int, int, int]
    maps: list[ClassMap]
    """(H, W) each, contiguous and little-endian: one after another they are the output tensor's bytes."""
    byte_size: int
    """Of all maps."""


async def infer(
    service: Service,
    regions: Regions | None,
    limits: OipLimits,
    request_id: str,
    model: str,
    version: str,
    inference: Inference,
) -> Result:
    """Run one request.

    Raises:
        RefusalError: whatever is wrong with the request, and what the service refuses.
    """
    info = service.metadata(model, version)
    pictures = tensors.pictures(inference.tensors, info, limits, regions)
    slot = inference.wanted.slot
    if slot is not None:
        if regions is None:
            raise bad("This service takes no shared memory. Ask for the output in the answer.")
        regions.check(slot)
    maps = await service.classmaps(request_id, model, version, pictures)
    result = _result(info, version, maps)
    if slot is not None and regions is not None:
        regions.write(slot, [one.data for one in result.maps])
    return result


def only_output(name: object) -> None:
    """Refuse any output but the one there is.

    Raises:
        RefusalError: 400.
    """
    if name != tensors.CLASSMAP:
        raise bad(f"There is no output {quoted(name)}. The only one is '{tensors.CLASSMAP}'.")


def _result(info: ModelInfo, version: str, maps: list[ClassMap]) -> Result:
    first = maps[0]
    if any(one.shape != first.shape for one in maps):
        sizes = ", ".join(dict.fromkeys(f"{one.shape[1]}x{one.shape[0]}" for one in maps[:8]))
        raise bad(
            f"The pictures of one request must have one size, their class maps being one tensor; got {sizes} (width x "
            "height). Send them in requests of their own."
        )
    wide = first.dtype.itemsize == 2
    ordered: list[ClassMap] = [np.ascontiguousarray(one, "<u2" if wide else "u1") for one in maps]
    height, width = first.shape
    return Result(
        model=info.name,
        version=version or info.versions[-1],
        datatype="UINT16" if wide else "UINT8",
        shape=(len(maps), height, width),
        maps=ordered,
        byte_size=first.nbytes * len(maps),
    )
