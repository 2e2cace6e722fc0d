"""PyTriton with the tritonserver it brings. PT_INST=n instances."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from bench.serve.common import Work

work = Work.from_environment()
session = work.session()


@batch
def infer(jpeg: NDArray[np.object_]) -> dict[str, NDArray[np.uint8]]:
    return {"mask": work.run(session, np.stack([work.decode(row[0]) for row in jpeg]))}


def main() -> None:
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=work.port,
        grpc_address="127.0.0.1",
        grpc_port=work.port + 1,
        metrics_address="127.0.0.1",
        metrics_port=work.port + 2,
        http_thread_count=2,
        log_verbose=0,
    )
    instances = int(os.environ.get("PT_INST", "1"))
    batcher = DynamicBatcher(max_queue_delay_microseconds=int(work.wait_ms * 1000))
    with Triton(config=config) as triton:
        triton.bind(
            model_name="seg",
            infer_func=infer if instances == 1 else [infer] * instances,
            inputs=[Tensor(name="jpeg", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="mask", dtype=np.uint8, shape=(work.side, work.side))],
            config=ModelConfig(max_batch_size=work.max_batch, batcher=batcher),
        )
        triton.serve()


if __name__ == "__main__":
    main()
