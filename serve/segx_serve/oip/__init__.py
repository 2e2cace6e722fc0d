"""The Open Inference Protocol v2 over REST and gRPC, for any service that maps pictures to class maps.

It reads and writes the protocol and knows nothing of how models are run; the service behind it is service.Service.
"""

from __future__ import annotations

from segx_serve.oip.regions import Regions
from segx_serve.oip.routes import Oip
from segx_serve.oip.service import (
    BatchStatistics,
    Duration,
    IndexEntry,
    ModelInfo,
    ModelStatistics,
    OipLimits,
    Service,
)

__all__ = [
    "BatchStatistics",
    "Duration",
    "IndexEntry",
    "ModelInfo",
    "ModelStatistics",
    "Oip",
    "OipLimits",
    "Regions",
    "Service",
]
