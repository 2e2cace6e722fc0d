"""Ray Serve. RAY_BATCH=1."""

from __future__ import annotations

import asyncio
import os
import time

import numpy as np
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from bench.serve.common import Work

work = Work.from_environment()
passed = (
    "BENCH_MODEL",
    "BENCH_MODELS",
    "ORT_THREADS",
    "ORT_SPIN",
    "MAX_BATCH",
    "BATCH_WAIT_MS",
    "RAY_BATCH",
    "PYTHONPATH",
)
environment = {name: os.environ[name] for name in passed if name in os.environ} | {"OMP_NUM_THREADS": "2"}


class Seg:
    """The deployment."""

    def __init__(self) -> None:
        self.session = work.session()

    @serve.batch(max_batch_size=work.max_batch, batch_wait_timeout_s=work.wait_ms / 1e3)
    async def many(self, bodies: list[bytes]) -> list[bytes]:
        return await asyncio.get_running_loop().run_in_executor(None, self._masks, bodies)

    def _masks(self, bodies: list[bytes]) -> list[bytes]:
        batch = np.stack([work.decode(body) for body in bodies])
        return [mask.tobytes() for mask in work.run(self.session, batch)]

    async def __call__(self, request: Request) -> Response:
        body = await request.body()
        if os.environ.get("RAY_BATCH") == "1":
            mask = await self.many(body)
        else:
            mask = await asyncio.get_running_loop().run_in_executor(None, work.one, self.session, body)
        return Response(mask, media_type="application/octet-stream")


if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=200_000_000,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": work.port, "request_timeout_s": 60})
    options = {"num_cpus": 1, "runtime_env": {"env_vars": environment}}
    deployment = serve.deployment(max_ongoing_requests=64, ray_actor_options=options)(Seg)
    serve.run(deployment.bind(), route_prefix="/")
    while True:
        time.sleep(1)
