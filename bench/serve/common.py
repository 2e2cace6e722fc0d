"""The work that every peer does for one request: decode, resize, normalise, run, and the raw class map as the answer.

It runs in the peers' environments, so it knows NumPy, OpenCV and ONNX Runtime and nothing of segx. `sim` is a device
that costs SIM_A + SIM_B x batch milliseconds, one batch at a time, and no CPU: a stand-in for a GPU.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bench.serve import places

MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
STD = np.array([0.229, 0.224, 0.225], np.float32) * 255
SIDE = {"real": 256, "real256": 256, "tiny": 64, "sim": 64}
"""Rows and columns that the network of a workload takes."""


class Simulated:
    """The simulated device."""

    def __init__(self) -> None:
        self.fixed = float(os.environ.get("SIM_A", "1.5")) / 1e3
        self.each = float(os.environ.get("SIM_B", "0.25")) / 1e3
        self._device = threading.Lock()

    def occupy(self, batch: int) -> None:
        """Take as long as a batch takes, alone."""
        with self._device:
            time.sleep(self.fixed + self.each * batch)

    def run(self, outputs: list[str], feeds: dict[str, NDArray[np.float32]]) -> list[NDArray[np.uint8]]:
        """As InferenceSession.run, with an answer that depends on the pictures."""
        batch = feeds["image"]
        self.occupy(len(batch))
        return [(batch[:, 0] > 0).astype(np.uint8)]


@dataclass(frozen=True)
class Work:
    """What one server does, as its environment says."""

    workload: str
    side: int
    threads: int
    spinning: bool
    max_batch: int
    wait_ms: float
    port: int

    @classmethod
    def from_environment(cls) -> Work:
        """BENCH_MODEL, ORT_THREADS, ORT_SPIN, MAX_BATCH, BATCH_WAIT_MS, PORT."""
        workload = os.environ.get("BENCH_MODEL", "real")
        return cls(
            workload=workload,
            side=SIDE[workload],
            threads=int(os.environ.get("ORT_THREADS", "1")),
            spinning=os.environ.get("ORT_SPIN", "0") == "1",
            max_batch=int(os.environ.get("MAX_BATCH", "8")),
            wait_ms=float(os.environ.get("BATCH_WAIT_MS", "2")),
            port=int(os.environ.get("PORT", "8900")),
        )

    def session(self) -> Any:
        """The ONNX Runtime session, or the simulated device."""
        cv2.setNumThreads(1)
        if self.workload == "sim":
            return Simulated()
        return open_session(places.float_model(self.workload), self.threads, self.spinning)

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """JPEG bytes -> (3, side, side) float32, normalised."""
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError("not a picture")
        if picture.shape[:2] != (self.side, self.side):
            picture = cv2.resize(picture, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        scaled = picture[:, :, ::-1].astype(np.float32) * (1 / STD) + (-MEAN / STD)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)

    def run(self, session: Any, batch: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(N, 3, side, side) float32 -> (N, side, side) uint8."""
        classmaps: NDArray[np.uint8] = session.run(["mask"], {"image": batch})[0]
        return classmaps

    def one(self, session: Any, data: bytes) -> bytes:
        """The whole way of one request."""
        mask: bytes = self.run(session, self.decode(data)[None])[0].tobytes()
        return mask


def open_session(path: os.PathLike[str], threads: int, spinning: bool) -> Any:
    """A session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
