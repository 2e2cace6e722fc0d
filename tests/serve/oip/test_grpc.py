"""The protocol over gRPC through a real socket. Messages are spelt out on the wire once more, from the public field
numbers alone."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from segx_core.errors import SetupError
from segx_serve.http import RefusalError
from segx_serve.oip import Oip
from segx_serve.oip.grpc_server import SERVICE, GrpcServer, GrpcSettings
from segx_serve.oip.schema import message_classes

Client = grpc.aio.Channel
Wire = dict[int, list[Any]]


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def write(*fields: tuple[int, bytes | str | int]) -> bytes:
    """Fields as protobuf writes them: whole numbers, and whatever has a length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def read(data: bytes) -> Wire:
    """Field number -> its values: numbers and bytes."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    found: Wire = {}
    while at < len(data):
        tag = number()
        value: int | bytes = number()
        if tag & 7 == 2:
            length = int(value)
            value = data[at : at + length]
            at += length
        found.setdefault(tag >> 3, []).append(value)
    return found


async def call(channel: Client, name: str, data: bytes = b"", **more: Any) -> Wire:
    return read(await channel.unary_unary(f"/{SERVICE}/{name}")(data, timeout=more.pop("timeout", 30), **more))


async def fails(channel: Client, name: str, data: bytes = b"", **more: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, name, data, **more)
    return caught.value.code(), caught.value.details() or ""


def session(
    oip: Oip, work: Callable[[Client], Awaitable[None]], authorize: Any = None, loop: Any = None, **settings: Any
) -> None:
    """Run `work` with a channel to a server on the same loop."""

    async def main() -> None:
        server = GrpcServer(oip, GrpcSettings(port=0, **settings), authorize)
        port = await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await work(channel)
        finally:
            await server.stop(5)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def tensor(name: str, kind: str, shape: list[int], *more: tuple[int, bytes]) -> bytes:
    """An InferInputTensor."""
    return write((1, name), (2, kind), (3, b"".join(map(varint, shape))), *more)


def parameter(key: str, number: int, value: int | str) -> bytes:
    """A map's entry with an InferParameter."""
    return write((1, key), (2, write((number, value))))


def infer_request(kit: Any, wire_kit: Any, pixels: Any, form: str) -> bytes:
    """A ModelInferRequest with one picture."""
    shape = [1, *pixels.shape]
    files = [kit.as_png(pixels)]
    match form:
        case "raw file":
            fields = [(5, tensor("encoded", "BYTES", [1, 1])), (7, wire_kit.elements(files))]
        case "raw pixels":
            fields = [(5, tensor("image", "UINT8", shape)), (7, pixels.tobytes())]
        case "file":
            fields = [(5, tensor("encoded", "BYTES", [1], (5, write((8, files[0])))))]
        case _:
            packed = b"".join(map(varint, pixels.ravel().tolist()))
            fields = [(5, tensor("image", "UINT8", shape, (5, write((4, packed)))))]
    return write((1, "grey"), (3, "the-id"), *fields)


@pytest.mark.parametrize("loop", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("form", ["raw file", "raw pixels", "file", "pixels"])
def test_infer(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip, form: str, loop: Any) -> None:
    pixels = kit.picture(1)

    async def work(channel: Client) -> None:
        told = await call(channel, "ModelInfer", infer_request(kit, wire_kit, pixels, form))
        assert (told[1], told[2], told[3]) == ([b"grey"], [b"2"], [b"the-id"])
        output = read(told[5][0])
        assert (output[1], output[2], output[3]) == ([b"classmap"], [b"UINT8"], [bytes([1, 24, 32])])
        seen = np.frombuffer(told[6][0], np.uint8).reshape(1, 24, 32)
        np.testing.assert_array_equal(seen, kit.Brightness().run(pixels[None]))

    session(oip, work, loop=loop)


def test_sixteen_bits(kit: SimpleNamespace, wire_kit: SimpleNamespace) -> None:
    oip = Oip(wire_kit.Small(wire_kit.Wide(), replace(wire_kit.GREY, datatype="UINT16")))
    pixels = kit.picture(2)

    async def work(channel: Client) -> None:
        told = await call(channel, "ModelInfer", infer_request(kit, wire_kit, pixels, "raw pixels"))
        assert read(told[5][0])[2] == [b"UINT16"]
        seen = np.frombuffer(told[6][0], "<u2").reshape(24, 32)
        np.testing.assert_array_equal(seen, wire_kit.Wide().run(pixels))

    session(oip, work)


def test_what_the_service_tells(oip: Oip) -> None:
    async def work(channel: Client) -> None:
        assert await call(channel, "ServerLive") == {1: [1]}
        assert await call(channel, "ServerReady") == {1: [1]}
        assert await call(channel, "ModelReady", write((1, "grey"), (2, "1"))) == {1: [1]}
        server = await call(channel, "ServerMetadata")
        assert server[1] == [b"segx"]
        assert b"system_shared_memory" in server[3]
        model = await call(channel, "ModelMetadata", write((1, "grey")))
        assert (model[1], model[2], model[3]) == ([b"grey"], [b"1", b"2"], [b"onnx_onnxv1"])
        image = read(model[4][0])
        assert (image[1], image[2]) == ([b"image"], [b"UINT8"])
        assert image[3] == [varint(-1) * 3 + b"\3"]
        config = read((await call(channel, "ModelConfig", write((1, "grey"))))[1][0])
        assert config[4] == [4]
        assert read(config[5][0]) == {1: [b"image"], 2: [2], 3: [1], 4: [varint(-1) * 2 + b"\3"], 8: [1]}
        assert read(config[5][1]) == {1: [b"encoded"], 2: [13], 4: [b"\1"], 8: [1]}
        assert read(config[6][0]) == {1: [b"classmap"], 2: [2], 3: [varint(-1) * 2]}
        assert read(config[7][0]) == {1: [b"grey"], 2: [1], 4: [2]}
        statistics = read((await call(channel, "ModelStatistics", write((1, "grey"), (2, "1"))))[1][0])
        assert (statistics[2], statistics[3], statistics[4], statistics[5]) == ([b"1"], [1_700_000_000_123], [6], [3])
        assert read(read(statistics[6][0])[1][0]) == {1: [5], 2: [2**60]}
        assert read(read(statistics[7][0])[3][0]) == {1: [3], 2: [20]}
        names = [read(one)[1][0] for one in (await call(channel, "RepositoryIndex"))[1]]
        assert names == [b"grey", b"broken"]
        (only,) = (await call(channel, "RepositoryIndex", write((2, 1))))[1]
        assert read(only) == {1: [b"grey"], 2: [b"2"], 3: [b"READY"]}
        assert await call(channel, "RepositoryModelUnload", write((2, "grey"))) == {}
        assert await call(channel, "ServerReady") == {}
        assert await call(channel, "RepositoryModelLoad", write((2, "grey"))) == {}
        assert await call(channel, "ServerReady") == {1: [1]}

    session(oip, work)


def test_shared_memory(kit: SimpleNamespace, oip: Oip, folder: Path) -> None:
    pixels = kit.picture(3)
    want = kit.Brightness().run(pixels[None])
    (folder / "in").write_bytes(pixels.tobytes())
    (folder / "out").write_bytes(bytes(want.nbytes + 7))

    async def work(channel: Client) -> None:
        await call(channel, "SystemSharedMemoryRegister", write((1, "i"), (2, "in"), (4, pixels.nbytes)))
        await call(channel, "SystemSharedMemoryRegister", write((1, "o"), (2, "out"), (3, 3), (4, want.nbytes + 4)))
        entries = {
            read(one)[1][0]: read(read(one)[2][0]) for one in (await call(channel, "SystemSharedMemoryStatus"))[1]
        }
        assert entries[b"o"] == {1: [b"o"], 2: [b"out"], 3: [3], 4: [want.nbytes + 4]}
        place = [
            (4, parameter("shared_memory_region", 3, "i")),
            (4, parameter("shared_memory_byte_size", 2, pixels.nbytes)),
        ]
        given = tensor("image", "UINT8", [1, *pixels.shape], *place)
        wanted = write(
            (1, "classmap"),
            (2, parameter("shared_memory_region", 3, "o")),
            (2, parameter("shared_memory_byte_size", 2, want.nbytes)),
            (2, parameter("shared_memory_offset", 2, 4)),
        )
        told = await call(channel, "ModelInfer", write((1, "grey"), (5, given), (6, wanted)))
        assert 6 not in told
        parameters = {read(one)[1][0]: read(read(one)[2][0]) for one in read(told[5][0])[4]}
        assert parameters == {
            b"shared_memory_region": {3: [b"o"]},
            b"shared_memory_byte_size": {2: [want.nbytes]},
            b"shared_memory_offset": {2: [4]},
        }
        assert (folder / "out").read_bytes() == bytes(7) + want.tobytes()
        await call(channel, "SystemSharedMemoryUnregister", write((1, "i")))
        code, text = await fails(channel, "SystemSharedMemoryStatus", write((1, "i")))
        assert code == grpc.StatusCode.NOT_FOUND
        assert "'i'" in text

    session(oip, work)


def test_refusals(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip) -> None:
    good = tensor("encoded", "BYTES", [1])
    blob = wire_kit.elements([kit.as_png(kit.picture())])

    async def work(channel: Client) -> None:
        for data, code, part in (
            (b"\xff\xff", "INVALID_ARGUMENT", "ModelInferRequest"),
            (write((1, "none"), (5, good), (7, blob)), "NOT_FOUND", "no such model"),
            (write((1, "grey"), (2, "9"), (5, good), (7, blob)), "NOT_FOUND", "no such model"),
            (write((1, "grey")), "INVALID_ARGUMENT", "exactly one input"),
            (write((1, "grey"), (5, good)), "INVALID_ARGUMENT", "bytes_contents"),
            (write((1, "grey"), (5, good), (7, blob), (7, blob)), "INVALID_ARGUMENT", "2 entries for 1 inputs"),
            (write((1, "grey"), (5, good), (7, b"\5")), "INVALID_ARGUMENT", "element 0"),
            (write((1, "grey"), (5, tensor("encoded", "BYTES", [])), (7, blob)), "INVALID_ARGUMENT", "shape"),
            (write((1, "grey"), (5, tensor("encoded", "BYTES", [5])), (7, blob)), "RESOURCE_EXHAUSTED", "4 pictures"),
            (write((1, "grey"), (5, tensor("zzz", "BYTES", [1])), (7, blob)), "INVALID_ARGUMENT", "'zzz'"),
            (write((1, "grey"), (5, tensor("image", "FP32", [1])), (7, blob)), "INVALID_ARGUMENT", "UINT8"),
            (write((1, "grey"), (5, good), (7, wire_kit.elements([b"?"]))), "INVALID_ARGUMENT", "picture"),
            (write((1, "grey"), (5, good), (7, blob), (6, write((1, "x")))), "INVALID_ARGUMENT", "only one"),
            (
                write((1, "grey"), (5, good), (7, blob), *[(6, write((1, "classmap")))] * 2),
                "INVALID_ARGUMENT",
                "2 times",
            ),
        ):
            found, text = await fails(channel, "ModelInfer", data)
            assert found == grpc.StatusCode[code]
            assert part in text
        config = write((1, "config"), (2, write((3, "{}"))))
        code, text = await fails(channel, "RepositoryModelLoad", write((2, "grey"), (3, config)))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert (await fails(channel, "CudaSharedMemoryStatus"))[0] == grpc.StatusCode.UNIMPLEMENTED

    session(oip, work)


def test_a_stream_goes_on_after_a_refusal(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip) -> None:
    good = infer_request(kit, wire_kit, kit.picture(), "raw file")
    bad = write((1, "none"), (3, "second"), (5, tensor("encoded", "BYTES", [1])), (7, b""))

    async def work(channel: Client) -> None:
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter([good, bad, b"\xff", good]))
        told = [read(one) async for one in stream]
        assert [1 in one for one in told] == [False, True, True, False]
        assert read(told[1][2][0])[3] == [b"second"]
        assert read(told[3][2][0])[3] == [b"the-id"]

    session(oip, work)


def test_rights(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip) -> None:
    asked: list[str] = []

    def authorize(name: str, metadata: Mapping[str, str]) -> None:
        asked.append(name)
        if metadata.get("authorization") != "Bearer secret":
            raise RefusalError(401, "unauthenticated", "Send a key.", headers=((b"www-authenticate", b"Bearer"),))
        if name == "RepositoryModelLoad":
            raise RefusalError(403, "forbidden", "This key may not.")

    async def work(channel: Client) -> None:
        assert await fails(channel, "ServerLive") == (grpc.StatusCode.UNAUTHENTICATED, "Send a key.")
        key = (("authorization", "Bearer secret"),)
        assert await call(channel, "ServerLive", metadata=key) == {1: [1]}
        code, _ = await fails(channel, "RepositoryModelLoad", write((2, "grey")), metadata=key)
        assert code == grpc.StatusCode.PERMISSION_DENIED
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter([b""]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [one async for one in stream]
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert asked == ["ServerLive", "ServerLive", "RepositoryModelLoad", "ModelStreamInfer"]

    session(oip, work, authorize)


def test_messages_are_limited(kit: SimpleNamespace, oip: Oip) -> None:
    async def work(channel: Client) -> None:
        for size, code in ((900, grpc.StatusCode.INVALID_ARGUMENT), (1100, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
                found, _ = await fails(channel, "ModelInfer", write((7, bytes(size))), compression=compression)
                assert found == code

    session(oip, work, max_message=1000)


def test_a_passed_deadline_cancels_the_work(
    kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip, small: Any, caplog: pytest.LogCaptureFixture
) -> None:
    small.hang = True

    async def work(channel: Client) -> None:
        data = infer_request(kit, wire_kit, kit.picture(), "raw file")
        code, _ = await fails(channel, "ModelInfer", data, timeout=0.2)
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(small.cancelled.wait(), 10)

    session(oip, work)
    assert not [record for record in caplog.records if record.name == "segx.serve"]


def test_stopping_lets_calls_end(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip, small: Any) -> None:
    async def main() -> None:
        entered, leave = asyncio.Event(), asyncio.Event()
        load = small.load

        async def slow(model: str) -> None:
            entered.set()
            await leave.wait()
            await load(model)

        small.load = slow
        server = GrpcServer(oip, GrpcSettings(port=0))
        port = await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            going = asyncio.create_task(call(channel, "RepositoryModelLoad", write((2, "grey"))))
            await entered.wait()
            stopping = asyncio.create_task(server.stop(30))
            await asyncio.sleep(0)
            leave.set()
            assert await going == {}
            await stopping
            assert (await fails(channel, "ServerLive"))[0] == grpc.StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_our_own_failures_are_logged_and_told(
    kit: SimpleNamespace, wire_kit: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def run(self, batch: Any) -> Any:
            raise RuntimeError("says /secret/path")

    async def work(channel: Client) -> None:
        data = infer_request(kit, wire_kit, kit.picture(), "raw file")
        code, text = await fails(channel, "ModelInfer", data)
        assert code == grpc.StatusCode.INTERNAL
        assert "secret" not in text

    with caplog.at_level(logging.ERROR, "segx.serve"):
        session(Oip(wire_kit.Small(Broken())), work)
    assert "/secret/path" in caplog.text


def test_a_taken_port(oip: Oip, free_port: int) -> None:
    async def main() -> None:
        first, second = (GrpcServer(oip, GrpcSettings(port=free_port)) for _ in range(2))
        await first.start()
        with pytest.raises(SetupError, match="to listen for gRPC"):
            await second.start()
        await second.stop(0)
        await first.stop(0)

    asyncio.run(main())


@given(
    name=st.text(), shape=st.lists(st.integers(-(2**63), 2**63 - 1)), blobs=st.lists(st.binary()), flag=st.booleans()
)
def test_messages_are_the_wire_format(name: str, shape: list[int], blobs: list[bytes], flag: bool) -> None:
    classes = message_classes()
    request = classes["ModelInferRequest"](model_name=name, raw_input_contents=blobs)
    request.inputs.add(shape=shape)
    request.parameters["p"].bool_param = flag
    data = write(
        *[(1, name)] * bool(name),
        (4, parameter("p", 1, int(flag))),
        (5, write(*[(3, b"".join(map(varint, shape)))] * bool(shape))),
        *[(7, one) for one in blobs],
    )
    assert request.SerializeToString() == data
    assert classes["ModelInferRequest"].FromString(data) == request


def test_two_sets_of_classes_live_side_by_side() -> None:
    first, second = message_classes(), message_classes()
    assert first["ServerLiveResponse"] is not second["ServerLiveResponse"]
    assert first["ServerLiveResponse"](live=True).SerializeToString() == b"\x08\x01"


@pytest.mark.parametrize("missing", ["grpc", "google.protobuf"])
def test_without_the_extra_the_cure_is_named(missing: str) -> None:
    code = f"import sys; sys.modules['{missing}'] = None; import segx_serve.oip; import segx_serve.oip.grpc_server"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "SetupError" in done.stderr
    assert 'pip install "segx[grpc]"' in done.stderr
