"""The protocol's calls over gRPC, one method each, from a request message to a response message.

It knows nothing of connections, rights or status codes: whatever is wrong is raised as RefusalError.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from segx_serve.oip import describe, tensors
from segx_serve.oip.inference import Inference, Wanted, infer, only_output
from segx_serve.oip.refusals import bad, quoted
from segx_serve.oip.regions import Region, Slot
from segx_serve.oip.routes import Oip
from segx_serve.oip.schema import filled, message_classes
from segx_serve.oip.tensors import Tensor
from segx_serve.oip.wire import slot_of, wanted_of

# Messages are made of a table at start-up: there are no classes to name in annotations.
Message = Any
Call = Callable[[Message, str], Awaitable[Message]]

ADMIN: frozenset[str] = frozenset(
    {
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "SystemSharedMemoryRegister",
        "SystemSharedMemoryUnregister",
    }
)
"""What changes the service for everybody."""


class Calls:
    """All calls over one set of operations."""

    def __init__(self, oip: Oip) -> None:
        self._oip = oip
        self.messages = message_classes()

    def table(self) -> dict[str, Call]:
        """Call name -> what answers it; its request message is called after it."""
        return {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server,
            "ModelMetadata": self._metadata,
            "ModelInfer": self.infer,
            "ModelConfig": self._config,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
            "SystemSharedMemoryStatus": self._shm_status,
            "SystemSharedMemoryRegister": self._shm_register,
            "SystemSharedMemoryUnregister": self._shm_unregister,
        }

    async def infer(self, request: Message, request_id: str) -> Message:
        """One inference; `request_id` is for the log, the client's own `id` is echoed."""
        oip = self._oip
        inference = Inference(request.id, _inputs(request), _wanted(request))
        result = await infer(
            oip.service,
            oip.regions,
            oip.limits,
            request_id,
            request.model_name,
            request.model_version,
            inference,
        )
        response = self.messages["ModelInferResponse"](
            model_name=result.model, model_version=result.version, id=request.id
        )
        output = response.outputs.add(name=tensors.CLASSMAP, datatype=result.datatype, shape=result.shape)
        slot = inference.wanted.slot
        if slot is None:
            response.raw_output_contents.append(b"".join([one.data for one in result.maps]))
        else:
            output.parameters["shared_memory_region"].string_param = slot.region
            output.parameters["shared_memory_byte_size"].int64_param = result.byte_size
            if slot.offset:
                output.parameters["shared_memory_offset"].int64_param = slot.offset
        return response

    async def _live(self, request: Message, request_id: str) -> Message:
        return self.messages["ServerLiveResponse"](live=True)

    async def _ready(self, request: Message, request_id: str) -> Message:
        return self.messages["ServerReadyResponse"](ready=self._oip.service.is_ready())

    async def _model_ready(self, request: Message, request_id: str) -> Message:
        info = self._oip.service.metadata(request.name, request.version)
        return self.messages["ModelReadyResponse"](ready=info.ready)

    async def _server(self, request: Message, request_id: str) -> Message:
        return self.messages["ServerMetadataResponse"](**describe.server(self._oip.regions is not None))

    async def _metadata(self, request: Message, request_id: str) -> Message:
        info = self._oip.service.metadata(request.name, request.version)
        return filled(self.messages["ModelMetadataResponse"], describe.metadata(info))

    async def _config(self, request: Message, request_id: str) -> Message:
        info = self._oip.service.metadata(request.name, request.version)
        config = describe.config(info, self._oip.limits)
        return filled(self.messages["ModelConfigResponse"], {"config": config})

    async def _statistics(self, request: Message, request_id: str) -> Message:
        found = await self._oip.service.statistics(request.name, request.version)
        return filled(self.messages["ModelStatisticsResponse"], describe.statistics(found))

    async def _index(self, request: Message, request_id: str) -> Message:
        found = describe.index(self._oip.service.models(), request.ready)
        return filled(self.messages["RepositoryIndexResponse"], {"models": found})

    async def _load(self, request: Message, request_id: str) -> Message:
        if request.parameters:
            raise bad("Models are loaded as they stand in the repository: parameters such as 'config' are not taken.")
        await self._oip.service.load(request.model_name)
        return self.messages["RepositoryModelLoadResponse"]()

    async def _unload(self, request: Message, request_id: str) -> Message:
        await self._oip.service.unload(request.model_name)
        return self.messages["RepositoryModelUnloadResponse"]()

    async def _shm_status(self, request: Message, request_id: str) -> Message:
        found = {one.name: describe.region(one) for one in self._oip.shared().status(request.name)}
        return filled(self.messages["SystemSharedMemoryStatusResponse"], {"regions": found})

    async def _shm_register(self, request: Message, request_id: str) -> Message:
        region = Region(request.name, request.key, request.offset, request.byte_size)
        self._oip.shared().register(region)
        return self.messages["SystemSharedMemoryRegisterResponse"]()

    async def _shm_unregister(self, request: Message, request_id: str) -> Message:
        self._oip.shared().unregister(request.name)
        return self.messages["SystemSharedMemoryUnregisterResponse"]()


def _inputs(request: Message) -> list[Tensor]:
    raw = list(request.raw_input_contents)
    slots = [slot_of(_values(given.parameters)) for given in request.inputs]
    sent = sum(slot is None for slot in slots)
    if raw and len(raw) != sent:
        raise bad(f"raw_input_contents has {len(raw)} entries for {sent} inputs that are not in shared memory.")
    contents = iter(raw)
    return [
        _input(given, slot, next(contents, None) if slot is None else None)
        for given, slot in zip(request.inputs, slots, strict=True)
    ]


def _input(given: Message, slot: Slot | None, raw: bytes | None) -> Tensor:
    shape = tensors.check_shape(list(given.shape), given.name)
    if slot is not None:
        return Tensor(given.name, given.datatype, shape, slot)
    if raw is not None:
        return Tensor(given.name, given.datatype, shape, raw)
    field = "bytes_contents" if given.datatype == "BYTES" else "uint_contents"
    values = list(getattr(given.contents, field))
    if not values:
        raise bad(f"Input {quoted(given.name)} has no data: it belongs into raw_input_contents or contents.{field}.")
    return Tensor(given.name, given.datatype, shape, values)


def _wanted(request: Message) -> Wanted:
    for output in request.outputs:
        only_output(output.name)
    if len(request.outputs) > 1:
        raise bad(f"Output '{tensors.CLASSMAP}' is asked for {len(request.outputs)} times.")
    if not request.outputs:
        return Wanted(binary=True)
    return wanted_of(_values(request.outputs[0].parameters), binary=True)


def _values(parameters: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("choice")
        found[name] = getattr(parameter, choice) if choice else None
    return found
