"""The protocol over gRPC: a server on the running event loop, its limits, rights and status codes.

It needs the extra `grpc`; without it, importing this file is a SetupError with the cure. What a call does stands in
calls.py.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from segx_core.errors import SetupError
from segx_serve.http import RefusalError
from segx_serve.oip.calls import Call, Calls, Message
from segx_serve.oip.routes import Oip
from segx_serve.oip.schema import PACKAGE, received

try:
    import grpc
    import grpc.aio
except ImportError as error:
    raise SetupError("grpcio for gRPC", "none", 'Install it: pip install "segx[grpc]".') from error

SERVICE = f"{PACKAGE}.GRPCInferenceService"
Authorize = Callable[[str, Mapping[str, str]], None]
"""Called with a call's name, such as ModelInfer, and its metadata before its message is read. Raises RefusalError (401
or 403) to refuse it. calls.ADMIN names the calls that change the service for everybody."""

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = logging.getLogger("segx.serve")


@dataclass(frozen=True)
class GrpcSettings:
    """Where and how much."""

    host: str = "127.0.0.1"
    port: int = 8001
    """0 takes any free port."""
    max_message: int = 32 * 2**20
    """Largest message, bytes, after decompression. Answers are not limited."""
    max_calls: int | None = None
    """Most calls at once; more are answered RESOURCE_EXHAUSTED. None: as many as come, the service sheds them."""
    reuse_port: bool = False
    """Whether several processes may listen on the port."""


class GrpcServer:
    """The server. Start and stop it on the event loop that the service runs on.

    Args:
        authorize: None lets everybody do everything.
    """

    def __init__(self, oip: Oip, settings: GrpcSettings, authorize: Authorize | None = None) -> None:
        self._calls = Calls(oip)
        self._settings = settings
        self._authorize = authorize
        self._server: Any = None

    async def start(self) -> int:
        """Listen.

        Returns:
            The port.

        Raises:
            SetupError: the address cannot be listened on.
        """
        chosen = self._settings
        options = [
            ("grpc.max_receive_message_length", chosen.max_message),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(chosen.reuse_port)),
        ]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=chosen.max_calls)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        host = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
        try:
            port: int = server.add_insecure_port(f"{host}:{chosen.port}")
        except RuntimeError as error:
            raise SetupError(
                f"to listen for gRPC on {host}:{chosen.port}", str(error)[:200], "Take another port."
            ) from error
        await server.start()
        self._server = server
        return port

    async def stop(self, grace: float) -> None:
        """Take no more calls, and let those going on end within `grace` seconds; after that they are cancelled."""
        if self._server is not None:
            await self._server.stop(grace)
            self._server = None

    def _handlers(self) -> dict[str, Any]:
        # Messages are read in the handler: what cannot be read is the client's fault, and told so.
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._unary(name, call), response_serializer=lambda message: message.SerializeToString()
            )
            for name, call in self._calls.table().items()
        }
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            self._stream, response_serializer=lambda message: message.SerializeToString()
        )
        return handlers

    def _unary(self, name: str, call: Call) -> Callable[[bytes, Any], Any]:
        async def handle(data: bytes, context: Any) -> Message:
            try:
                request_id = self._admitted(name, context)
                return await call(self._read(f"{name}Request", data), request_id)
            except RefusalError as refusal:
                refused = refusal
            except asyncio.CancelledError:
                raise
            except Exception:  # noqa: BLE001 - whatever fails in a call, its client gets an answer
                refused = self._failed(name)
            trailing = [(key.decode(), value.decode()) for key, value in refused.headers]
            return await context.abort(_code(refused.status), refused.message, tuple(trailing))

        return handle

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Message]:
        """Inferences one after another; one that is refused does not end the stream."""
        answer = self._calls.messages["ModelStreamInferResponse"]
        refused: RefusalError | None = None
        try:
            request_id = self._admitted("ModelStreamInfer", context)
        except RefusalError as refusal:
            refused = refusal
        if refused is not None:
            await context.abort(_code(refused.status), refused.message)
        async for data in requests:
            response = answer()
            request = None
            try:
                request = self._read("ModelInferRequest", data)
                response.infer_response.CopyFrom(await self._calls.infer(request, request_id))
            except RefusalError as refusal:
                response.error_message = refusal.message
            except asyncio.CancelledError:
                raise
            except Exception:  # noqa: BLE001 - as above
                response.error_message = self._failed("ModelStreamInfer").message
            if response.error_message and request is not None:
                response.infer_response.id = request.id
            yield response

    def _admitted(self, name: str, context: Any) -> str:
        """The request id of a call that may be made."""
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        if self._authorize is not None:
            self._authorize(name, metadata)
        sent = metadata.get("x-request-id", "")
        return sent if _SAFE_ID.fullmatch(sent) else secrets.token_hex(8)

    def _read(self, name: str, data: bytes) -> Message:
        return received(self._calls.messages[name], data)

    def _failed(self, name: str) -> RefusalError:
        _log.exception("call %s failed", name)
        return RefusalError(500, "internal", "The service failed; its log says why.")


def _code(status: int) -> Any:
    match status:
        case 401:
            return grpc.StatusCode.UNAUTHENTICATED
        case 403:
            return grpc.StatusCode.PERMISSION_DENIED
        case 404:
            return grpc.StatusCode.NOT_FOUND
        case 408 | 504:
            return grpc.StatusCode.DEADLINE_EXCEEDED
        case 409:
            return grpc.StatusCode.FAILED_PRECONDITION
        case 413 | 429 | 507:
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        case 502 | 503:
            return grpc.StatusCode.UNAVAILABLE
        case 500:
            return grpc.StatusCode.INTERNAL
    return grpc.StatusCode.INVALID_ARGUMENT
