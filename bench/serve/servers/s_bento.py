"""BentoML. BENTO_BATCH=1 for its adaptive batching, whose inputs are JSON."""

import base64
import os

import bentoml
import numpy as np

from bench.serve.common import Work

work = Work.from_environment()


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Seg:
    """The service; the shape of `predict` is what BentoML reads the wire format from."""

    def __init__(self) -> None:
        self.session = work.session()

    if os.environ.get("BENTO_BATCH") == "1":

        @bentoml.api(batchable=True, max_batch_size=work.max_batch, max_latency_ms=2000)
        def predict(self, body: list[str]) -> list[str]:
            batch = np.stack([work.decode(base64.b64decode(text)) for text in body])
            return [base64.b64encode(mask.tobytes()).decode() for mask in work.run(self.session, batch)]

    else:

        @bentoml.api
        def predict(self, body: bytes, /) -> bytes:
            return work.one(self.session, body)
