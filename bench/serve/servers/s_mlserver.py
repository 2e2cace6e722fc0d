"""MLServer with a custom runtime; Open Inference Protocol in JSON with base64. ML_BATCH=1.

Its pool of worker processes does not start with Python 3.11 and these pins, so it runs without.
"""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Any

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from bench.serve.common import Work

work = Work.from_environment()
batched = os.environ.get("ML_BATCH") == "1"


class Seg(MLModel):
    """The runtime."""

    async def load(self) -> bool:
        self.session = work.session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        masks = await asyncio.get_running_loop().run_in_executor(None, self._masks, payload.inputs[0].data)
        output = ResponseOutput(name="mask", shape=[len(masks), 1], datatype="BYTES", data=masks)
        return InferenceResponse(model_name=self.name, outputs=[output])

    def _masks(self, data: Any) -> list[str]:
        batch = np.stack([work.decode(base64.b64decode(text)) for text in getattr(data, "root", data)])
        return [base64.b64encode(mask.tobytes()).decode() for mask in work.run(self.session, batch)]


async def main() -> None:
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=work.port,
        grpc_port=work.port + 1,
        metrics_port=work.port + 2,
        parallel_workers=0,
        gzip_enabled=False,
    )
    model = ModelSettings(
        name="seg",
        implementation=Seg,
        max_batch_size=work.max_batch if batched else 0,
        max_batch_time=work.wait_ms / 1e3 if batched else 0,
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main())
