"""The stock Triton clients against an Open Inference Protocol v2 server; OK or FAIL a line, exit 1 on a FAIL.

    $BENCH_VENVS/clients/bin/python -m bench.serve.conformance 127.0.0.1:8000 MODEL [--grpc 127.0.0.1:8001]
        [--input encoded] [--output classmap]

Runs in the environment `clients`: tritonclient and NumPy, nothing of segx.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.utils import shared_memory

from bench.serve import places


@dataclass
class Report:
    """Prints as it goes and remembers whether all was well."""

    failed: list[str] = field(default_factory=list)
    passed: int = 0

    def check(self, name: str, call: Callable[[], object]) -> None:
        """One check: it passes where nothing is raised and the result is not False."""
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - whatever a client raises is this check's outcome
            result, problem = False, f"{type(error).__name__}: {error}"
        else:
            problem = str(result)
        good = result is not False
        print(f"{'OK  ' if good else 'FAIL'} {name:34s} {' '.join(problem.split())[:140]}", flush=True)
        if good:
            self.passed += 1
        else:
            self.failed.append(name)


@dataclass(frozen=True)
class Tensors:
    """What is asked for, with either client."""

    model: str
    input: str
    output: str
    picture: bytes

    def infer(self, module: Any, connection: Any, binary: bool = True, **options: Any) -> str:
        """One picture in, one class map out; what came back in words."""
        asked = module.InferInput(self.input, [1, 1], "BYTES")
        asked.set_data_from_numpy(self.encoded())
        http = module is tritonclient.http
        wanted = module.InferRequestedOutput(self.output, **({"binary_data": binary} if http else {}))
        result = connection.infer(self.model, [asked], outputs=[wanted], request_id="abc", **options)
        classmap = result.as_numpy(self.output)
        reply = result.get_response()
        name = reply["id"] if http else reply.id
        if name != "abc":
            raise ValueError(f"request id 'abc' came back as '{name}'")
        return f"{classmap.shape} {classmap.dtype}"

    def encoded(self) -> NDArray[np.object_]:
        """(1, 1) bytes objects."""
        return np.array([[self.picture]], dtype=np.object_)

    def refused(self, connection: Any, **changed: Any) -> str | bool:
        """A request that must be refused with a 4xx; False where it was accepted or the status is another."""
        asked = tritonclient.http.InferInput(changed.get("name", self.input), [1, 1], changed.get("datatype", "BYTES"))
        asked.set_data_from_numpy(changed.get("data", self.encoded()))
        try:
            connection.infer(changed.get("model", self.model), [asked])
        except tritonclient.utils.InferenceServerException as error:
            return f"{error.status()} {error.message()}" if str(error.status()).startswith("4") else False
        return False


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("model")
    parser.add_argument("--grpc")
    parser.add_argument("--input", default="encoded")
    parser.add_argument("--output", default="classmap")
    given = parser.parse_args()
    picture = places.pictures("tiny")[0].read_bytes()
    tensors = Tensors(given.model, given.input, given.output, picture)
    report = Report()
    http(report, tritonclient.http.InferenceServerClient(given.address), tensors)
    if given.grpc:
        grpc(report, tritonclient.grpc.InferenceServerClient(given.grpc), tensors)
    print(f"{report.passed} of {report.passed + len(report.failed)} passed")
    return 1 if report.failed else 0


def http(report: Report, connection: Any, tensors: Tensors) -> None:
    """Everything over HTTP."""
    plain = (
        "is_server_live", "is_server_ready", "get_server_metadata", "get_model_repository_index",
        "get_inference_statistics",
    )  # fmt: skip
    for name in plain:
        report.check(f"http {name}", getattr(connection, name))
    for name in ("is_model_ready", "get_model_metadata", "get_model_config"):
        report.check(f"http {name}", partial(getattr(connection, name), tensors.model))
    module = tritonclient.http
    report.check("http infer binary", lambda: tensors.infer(module, connection))
    report.check("http infer json output", lambda: tensors.infer(module, connection, binary=False))
    both: dict[str, Any] = {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"}
    report.check("http infer gzip both ways", lambda: tensors.infer(module, connection, **both))
    report.check("http unknown model", lambda: tensors.refused(connection, model="nope"))
    report.check("http wrong input name", lambda: tensors.refused(connection, name="zzz"))
    zeros = np.zeros((1, 1), np.float32)
    report.check("http wrong datatype", lambda: tensors.refused(connection, datatype="FP32", data=zeros))
    report.check("http system shared memory", lambda: system_shared_memory(connection, tensors.picture))


def grpc(report: Report, connection: Any, tensors: Tensors) -> None:
    """The same server over gRPC."""
    report.check("grpc is_server_live", connection.is_server_live)
    report.check("grpc get_server_metadata", lambda: connection.get_server_metadata(as_json=True))
    report.check("grpc is_model_ready", lambda: connection.is_model_ready(tensors.model))
    report.check("grpc infer", lambda: tensors.infer(tritonclient.grpc, connection))


def system_shared_memory(connection: Any, picture: bytes) -> Any:
    """Register a region, list it, take it away."""
    size = 65536
    region = shared_memory.create_shared_memory_region("bench", "/segx_bench", size)
    try:
        shared_memory.set_shared_memory_region(region, [np.frombuffer(picture, np.uint8)])
        connection.register_system_shared_memory("bench", "/segx_bench", size)
        try:
            return connection.get_system_shared_memory_status()
        finally:
            connection.unregister_system_shared_memory("bench")
    finally:
        shared_memory.destroy_shared_memory_region(region)


if __name__ == "__main__":
    sys.exit(main())
