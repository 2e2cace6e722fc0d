"""tritonserver itself, as the PyTriton wheel brings it, with a Python-backend model and no PyTriton between.

TR_INST=n instances. Becomes tritonserver by exec, so that its process tree is the server's alone.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytriton

from bench.serve import places
from bench.serve.common import Work

MODEL = """
import sys
sys.path[:0] = {paths!r}
import numpy as np
import triton_python_backend_utils as backend
from bench.serve.common import Work


class TritonPythonModel:
    def initialize(self, arguments):
        self.work = Work.from_environment()
        self.session = self.work.session()

    def execute(self, requests):
        rows = [backend.get_input_tensor_by_name(one, "jpeg").as_numpy().reshape(-1) for one in requests]
        masks = self.work.run(self.session, np.stack([self.work.decode(data) for row in rows for data in row]))
        ends = np.cumsum([len(row) for row in rows])
        parts = np.split(masks, ends[:-1])
        return [backend.InferenceResponse([backend.Tensor("mask", part)]) for part in parts]
"""
CONFIG = """name: "seg" backend: "python" max_batch_size: {batch}
input [{{ name: "jpeg" data_type: TYPE_STRING dims: [1] }}]
output [{{ name: "mask" data_type: TYPE_UINT8 dims: [{side}, {side}] }}]
dynamic_batching {{ max_queue_delay_microseconds: {wait} }}
instance_group [{{ kind: KIND_CPU count: {count} }}]
"""


def main() -> None:
    work = Work.from_environment()
    package = Path(pytriton.__file__).parent
    server = package / "tritonserver"
    repository = Path(tempfile.mkdtemp(prefix="triton-models-"))
    (repository / "seg" / "1").mkdir(parents=True)
    paths = [str(places.ROOT), sysconfig.get_path("purelib")]
    (repository / "seg" / "1" / "model.py").write_text(MODEL.format(paths=paths))
    count = os.environ.get("TR_INST", "1")
    wait = int(work.wait_ms * 1000)
    config = CONFIG.format(batch=work.max_batch, side=work.side, wait=wait, count=count)
    (repository / "seg" / "config.pbtxt").write_text(config)

    backends = Path(tempfile.mkdtemp(prefix="triton-backends-"))
    shutil.copytree(server / "backends", backends, dirs_exist_ok=True)
    stub = backends / "python" / "triton_python_backend_stub"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(server / "python_backend_stubs" / version / "triton_python_backend_stub", stub)
    stub.chmod(0o755)

    libraries = [str(package.parent / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
    environment = dict(os.environ)
    environment["LD_LIBRARY_PATH"] = ":".join([*libraries, environment.get("LD_LIBRARY_PATH", "")])
    command = [
        "tritonserver",
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--cache-directory={server}/caches",
        "--http-address=127.0.0.1",
        f"--http-port={work.port}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={work.port + 1}",
        "--metrics-address=127.0.0.1",
        f"--metrics-port={work.port + 2}",
        "--http-thread-count=2",
    ]
    os.execve(server / "bin" / "tritonserver", command, environment)


if __name__ == "__main__":
    main()
