"""Every limit of the service in one frozen record, and the reading of sizes such as 32MiB.

It knows nothing of where the values come from: the command line, a test, a program.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from segx_core.cores import cores
from segx_core.errors import ConfigError
from segx_serve.tls import Tls

CPU = "CPUExecutionProvider"
GPU_BATCHES = 2
"""Batches on their way at once on a GPU: one is copied while the other is computed."""
_SHAPE = re.compile(r"0*([1-9]\d{0,4})x0*([1-9]\d{0,4})")
LIMITS = (
    "max_body", "max_pixels", "max_queue", "max_queue_bytes", "max_batch", "max_wait_ms", "max_connections",
    "read_timeout", "write_timeout", "deadline_ms", "run_timeout",
)  # fmt: skip
"""The settings that a client may want to know; GET /v2 tells them."""
_UNITS = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "kib": 2**10,
    "m": 10**6, "mb": 10**6, "mib": 2**20,
    "g": 10**9, "gb": 10**9, "gib": 2**30,
}  # fmt: skip
_UNBOUNDED = 1 << 62
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


class Settings(BaseModel):
    """How one service behaves; the same for every model in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = "127.0.0.1"
    """Address to listen on. Loopback by default: whoever opens it to a network says so."""
    port: int = Field(default=8000, ge=0, le=65535)
    """0 takes any free port."""
    max_batch: int = Field(default=16, ge=1)
    """Most pictures of one size run together."""
    max_wait_ms: float = Field(default=0.0, ge=0)
    """How long an idle engine may wait for a fuller batch. 0: never, it takes what is there."""
    max_body: int = Field(default=32 * 2**20, ge=1)
    """Largest request body, bytes."""
    max_pixels: int = Field(default=64_000_000, ge=1)
    """Largest picture, pixels; also the most pixels in one batch."""
    max_queue: int = Field(default=32, ge=1)
    """Most requests inside at once, waiting or being worked on; more are answered 503."""
    max_queue_bytes: int = Field(default=2**30, ge=1)
    """Most bytes of bodies and decoded pictures held at once; more are answered 503."""
    read_timeout: float = Field(default=10.0, gt=0)
    """Seconds a client may stay silent while it sends headers or a body."""
    write_timeout: float = Field(default=30.0, gt=0)
    """Seconds an answer may wait for its client to take it."""
    deadline_ms: float = Field(default=30_000.0, ge=0)
    """A picture that has waited longer than this since it arrived is answered 503 instead of being run. 0: never."""
    run_timeout: float = Field(default=60.0, gt=0)
    """Seconds one run of a model may take; after that it counts as hung."""
    load_timeout: float = Field(default=600.0, gt=0)
    """Seconds that loading and warming up models may take."""
    max_connections: int = Field(default=1024, ge=1)
    """Most connections open at once in one process; a further one is answered 503 and closed."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """How long requests in flight may take to end after SIGTERM."""
    engines: int | None = Field(default=None, ge=1)
    """Engine threads a model. None: one per core for a model on the CPU provider, on a GPU two, else one."""
    threads: int | None = Field(default=None, ge=1)
    """ONNX Runtime threads inside one engine. None: cores / engines."""
    codecs: int | None = Field(default=None, ge=1)
    """Threads that decode pictures and encode answers. None: one per core, at most 8."""
    gpu_mem_limit: int | None = Field(default=None, ge=1)
    """Most bytes on the GPU that each session may take for what it computes. None: all there are."""
    cuda_graphs: tuple[tuple[int, int], ...] = ()
    """(height, width) of pictures whose runs are recorded on the GPU and replayed; see graphs.py."""
    trt_cache: Path | None = None
    """Folder where engines that TensorRT has built are kept, by the content of the model file."""
    api_key_file: Path | None = None
    """Keys that may use and manage the service; None: everybody may use it, see `admin`."""
    admin: bool = False
    """Without keys: whether programs on this machine may manage the service."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may use the service from a browser; `*` for all."""
    tls_cert: Path | None = None
    """Certificate, PEM; with `tls_key` the service speaks https."""
    tls_key: Path | None = None
    """The certificate's private key, PEM."""
    tls_client_ca: Path | None = None
    """Who signs clients' certificates, PEM; with it every client must show one."""
    log_format: Literal["text", "json"] = "text"
    """How log lines look."""
    access_log: bool = False
    """Whether every answered request gets a log line."""
    otel_endpoint: str | None = None
    """OTLP/HTTP address that traces are sent to."""
    grpc_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the Open Inference Protocol over gRPC; None: not offered."""
    sample: Path | None = None
    """A picture that the web page offers to try."""

    @model_validator(mode="after")
    def _room_for_one(self) -> Self:
        if self.max_queue_bytes < self.largest:
            raise ValueError(
                f"max_queue_bytes {self.max_queue_bytes} is less than one largest body and its decoded picture "
                f"({self.largest}): raise it, or lower max_body or max_pixels"
            )
        return self

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: give both or none")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        return self

    @property
    def tls(self) -> Tls | None:
        """The files for TLS, None for plain http."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return Tls(self.tls_cert, self.tls_key, self.tls_client_ca)

    @property
    def max_pictures(self) -> int:
        """Most pictures in one request of the Open Inference Protocol: each takes a place in the queue."""
        return min(64, self.max_queue)

    @property
    def largest(self) -> int:
        """Bytes of one largest body and its decoded picture."""
        return self.max_body + 3 * self.max_pixels

    def codec_threads(self) -> int:
        """Threads that decode and encode."""
        return self.codecs or min(cores(), 8)

    def engine_threads(self, provider: str) -> int:
        """Engine threads of one model on a provider, by ONNX Runtime's name, or "custom"."""
        if self.engines:
            return self.engines
        return cores() if provider == CPU else GPU_BATCHES if on_gpu(provider) else 1


def build_settings(**values: Any) -> Settings:
    """Settings from what a user typed: `max_queue_bytes`, where it is not given, grows with the limits that need it.

    Raises:
        ConfigError: a value out of its range, or values that contradict each other; names the option.
    """
    try:
        settings = Settings(max_queue_bytes=_UNBOUNDED, **values)
        room = max(Settings.model_fields["max_queue_bytes"].default, settings.largest)
        return Settings(max_queue_bytes=room, **values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        need = first["msg"].removeprefix("Input should be ")
        raise ConfigError(f"{option} to be {need}", str(first["input"])) from None


def parse_size(text: str) -> int:
    """`32MiB`, `64M`, `1.5 GB`, `4096` -> a whole number. K, M, G are powers of 1000, KiB, MiB, GiB of 1024.

    Raises:
        ConfigError: not a size, or below 1.
    """
    match = _SIZE.fullmatch(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ConfigError("a size such as 32MiB, 64M or 4096", f"'{text}'", "Units: K M G (1000), KiB MiB GiB (1024).")
    size = int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit
    if size < 1:
        raise ConfigError("a size of at least 1", f"'{text}'")
    return size


def parse_shape(text: str) -> tuple[int, int]:
    """`512x768` -> (height, width).

    Raises:
        ConfigError: something else.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ConfigError("a size of pictures as HEIGHTxWIDTH, for example 512x768", f"'{text}'")
    return int(match[1]), int(match[2])


def on_gpu(provider: str) -> bool:
    """Whether ONNX Runtime's provider of this name computes on an NVIDIA GPU."""
    return provider.startswith(("CUDA", "Tensorrt"))
