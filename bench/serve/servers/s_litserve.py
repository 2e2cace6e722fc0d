"""LitServe. LIT_BATCH=1, LIT_WORKERS=n, LIT_FAST=1. Its request type takes no raw bodies, so multipart.

LitServe reads annotations as objects, so they are not postponed here.
"""

import os

import litserve
import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray

from bench.serve.common import Work

work = Work.from_environment()
batched = os.environ.get("LIT_BATCH") == "1"


class Api(litserve.LitAPI):
    """LitServe's hooks."""

    def setup(self, device: str) -> None:
        self.session = work.session()

    def decode_request(self, request: Request) -> NDArray[np.float32]:
        return work.decode(request["content"].file.read())  # the form, whatever the annotation says

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.uint8]:
        return work.run(self.session, inputs if batched else inputs[None])

    def batch(self, inputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.stack(inputs)

    def unbatch(self, output: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        return list(output)

    def encode_response(self, output: NDArray[np.uint8]) -> Response:
        mask = output if batched else output[0]
        return Response(content=mask.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=work.max_batch if batched else 1, batch_timeout=work.wait_ms / 1e3),
        accelerator="cpu",
        workers_per_device=int(os.environ.get("LIT_WORKERS", "1")),
        fast_queue=os.environ.get("LIT_FAST") == "1",
        timeout=60,
    )
    server.run(host="127.0.0.1", port=work.port, generate_client_file=False, log_level="warning", access_log=False)
