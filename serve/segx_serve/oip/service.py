"""What the protocol needs of the service behind it, and the records the two exchange.

It knows nothing of HTTP, gRPC or JSON, and nothing of how the service works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from segx_core.runner import ClassMap, UInt8

IndexState = Literal["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]


@dataclass(frozen=True)
class OipLimits:
    """What one request may cost."""

    max_pictures: int = 64
    """Most pictures in one request."""
    max_body: int = 32 * 2**20
    """Most bytes of a body after decompression, and of the inputs a request takes from shared memory."""
    max_json: int = 4 * 2**20
    """Most bytes of JSON, read or written: it is parsed on the event loop, and pictures have a binary form."""


@dataclass(frozen=True)
class ModelInfo:
    """One version of a model as clients see it. All models take `image` or `encoded` and give `classmap`."""

    name: str
    versions: tuple[str, ...]
    """The versions served; the last one answers where a request names none."""
    datatype: Literal["UINT8", "UINT16"]
    """Of the map: UINT16 past 256 classes, or past 8 of a multilabel model, whose map holds bit fields."""
    ready: bool
    classes: int | None = None
    """None where no card says it."""
    size: tuple[int, int] | None = None
    """(height, width) of a model that takes one size only."""
    platform: str = "onnx_onnxv1"
    max_batch: int = 1
    """Most pictures the service runs together."""
    max_wait_us: int = 0
    """Longest wait for a fuller batch, microseconds."""
    engines: int = 1
    gpu: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Anything else worth telling: task, provider, precision."""


@dataclass(frozen=True)
class IndexEntry:
    """One line of the model repository's index."""

    name: str
    version: str
    state: IndexState
    reason: str = ""


@dataclass(frozen=True)
class Duration:
    """How often something happened, and how many nanoseconds it took in total."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True)
class BatchStatistics:
    """All runs of one batch size."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True)
class ModelStatistics:
    """What one version of a model has done since it was loaded."""

    name: str
    version: str
    last_inference: int = 0
    """Milliseconds since 1970; 0 before the first."""
    inference_count: int = 0
    """Pictures."""
    execution_count: int = 0
    """Runs, each of a batch."""
    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    batches: tuple[BatchStatistics, ...] = ()


class Service(Protocol):
    """The service. Whatever it refuses it refuses with http.RefusalError."""

    async def classmaps(
        self, request_id: str, model: str, version: str, pictures: Sequence[bytes | UInt8]
    ) -> list[ClassMap]:
        """Picture files (bytes) or decoded (H, W, 3) uint8 RGB, which may be read-only -> their (H, W) class maps.

        Cancelled when the client's deadline passes.
        """
        ...

    def metadata(self, model: str, version: str) -> ModelInfo:
        """The model; `version` is "" where the client named none. 404 for what is not served."""
        ...

    def models(self) -> list[IndexEntry]:
        """Every known model and version, served or not."""
        ...

    async def load(self, model: str) -> None:
        """Load a model, or load it anew. Returns when it is ready."""
        ...

    async def unload(self, model: str) -> None:
        """Stop serving a model."""
        ...

    async def statistics(self, model: str, version: str) -> list[ModelStatistics]:
        """Of every version served, or of one; of all models where `model` is ""."""
        ...

    def is_ready(self) -> bool:
        """Whether every model that should be served can be used."""
        ...
