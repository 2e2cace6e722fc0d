"""KServe's Python SDK: Open Inference Protocol over REST with binary tensors.

The picture travels as a UINT8 tensor, because the SDK fails on BYTES that are not UTF-8. It has no host option and
listens on every address.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

from bench.serve.common import Work

work = Work.from_environment()


class Seg(Model):
    """The model."""

    def __init__(self) -> None:
        super().__init__("seg")
        self.load()

    def load(self) -> bool:
        self.session = work.session()
        self.ready = True
        return True

    async def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:
        picture = payload.inputs[0].as_numpy().tobytes()
        mask = await asyncio.get_running_loop().run_in_executor(None, work.one, self.session, picture)
        output = InferOutput("mask", [1, work.side, work.side], "UINT8")
        classmap = np.frombuffer(mask, np.uint8).reshape(1, work.side, work.side)
        output.set_data_from_numpy(classmap, binary_data=True)
        return InferResponse(
            response_id=payload.id or "x", model_name="seg", infer_outputs=[output], use_binary_outputs=True
        )


if __name__ == "__main__":
    ModelServer(http_port=work.port, enable_grpc=False, workers=1, access_log_format=None).start([Seg()])
