"""segx inside a program: create_app with a runner of one's own, which is how the simulated device is served."""

from __future__ import annotations

import numpy as np

from bench.serve import places
from bench.serve.common import Simulated, Work
from segx_core.predictor import Predictor
from segx_core.runner import ClassMap, Runner, UInt8
from segx_serve import Settings, create_app
from segx_serve.listen import bind, make_server


class Device:
    """The simulated device as a runner: (N, H, W, 3) uint8 -> (N, H, W) uint8, equal to what the peers answer."""

    def __init__(self) -> None:
        self._device = Simulated()

    def run(self, batch: UInt8) -> ClassMap:
        """Red brighter than ImageNet's mean, after the device's time has passed."""
        self._device.occupy(len(batch))
        return (batch[..., 0] > 0.485 * 255).view(np.uint8)


def main() -> None:
    work = Work.from_environment()
    if work.workload == "sim":
        settings = Settings(port=work.port, max_batch=work.max_batch)
        runner: Runner = Device()
    else:
        settings = Settings(port=work.port)
        # An engine per core with one thread each: what `segx serve` gives a model on the CPU.
        runner = Predictor.load(places.twin(work.workload), provider="cpu", threads=1)
    listener = bind(settings)
    make_server(create_app({"seg": runner}, settings), settings).run(sockets=[listener])


if __name__ == "__main__":
    main()
