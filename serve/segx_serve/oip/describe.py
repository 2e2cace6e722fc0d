"""Models, their configuration and statistics in the protocol's words, as plain values that REST and gRPC both write.

It knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segx_core.version import segx_version
from segx_serve.oip.regions import Region
from segx_serve.oip.service import Duration, IndexEntry, ModelInfo, ModelStatistics, OipLimits
from segx_serve.oip.tensors import CLASSMAP, ENCODED, IMAGE

SERVER = "segx"


def server(shared_memory: bool) -> dict[str, Any]:
    """Server metadata. Only extensions that are there."""
    extensions = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]
    if shared_memory:
        extensions.append("system_shared_memory")
    return {"name": SERVER, "version": segx_version(), "extensions": extensions}


def metadata(info: ModelInfo) -> dict[str, Any]:
    """Model metadata. Shapes include the number of pictures; -1 is any size."""
    height, width = info.size or (-1, -1)
    return {
        "name": info.name,
        "versions": list(info.versions),
        "platform": info.platform,
        "inputs": [
            {"name": IMAGE, "datatype": "UINT8", "shape": [-1, height, width, 3]},
            {"name": ENCODED, "datatype": "BYTES", "shape": [-1, 1]},
        ],
        "outputs": [{"name": CLASSMAP, "datatype": info.datatype, "shape": [-1, -1, -1]}],
    }


def config(info: ModelInfo, limits: OipLimits) -> dict[str, Any]:
    """Model configuration. Dims leave the number of pictures out, for max_batch_size speaks of it: the most pictures of
    one request, which the service runs in batches of its own."""
    height, width = info.size or (-1, -1)
    return {
        "name": info.name,
        "platform": info.platform,
        "version_policy": {"latest": {"num_versions": len(info.versions)}},
        "max_batch_size": limits.max_pictures,
        "input": [
            {
                "name": IMAGE,
                "data_type": "TYPE_UINT8",
                "format": "FORMAT_NHWC",
                "dims": [height, width, 3],
                "optional": True,
            },
            {"name": ENCODED, "data_type": "TYPE_STRING", "dims": [1], "optional": True},
        ],
        "output": [{"name": CLASSMAP, "data_type": f"TYPE_{info.datatype}", "dims": [-1, -1]}],
        "instance_group": [{"name": info.name, "kind": "KIND_GPU" if info.gpu else "KIND_CPU", "count": info.engines}],
        "dynamic_batching": {
            "preferred_batch_size": [info.max_batch],
            "max_queue_delay_microseconds": info.max_wait_us,
        },
        "parameters": {name: {"string_value": value} for name, value in _parameters(info).items()},
    }


def statistics(found: Sequence[ModelStatistics]) -> dict[str, Any]:
    """The statistics extension's answer."""
    return {"model_stats": [_statistics(one) for one in found]}


def index(found: Sequence[IndexEntry], ready: bool) -> list[dict[str, Any]]:
    """The repository's index, or of it only what is ready."""
    return [
        {"name": one.name, "version": one.version, "state": one.state, "reason": one.reason}
        for one in found
        if one.state == "READY" or not ready
    ]


def region(one: Region) -> dict[str, Any]:
    """A shared memory region."""
    return {"name": one.name, "key": one.key, "offset": one.offset, "byte_size": one.byte_size}


def _parameters(info: ModelInfo) -> dict[str, str]:
    classes = {} if info.classes is None else {"classes": str(info.classes)}
    return {**classes, **info.parameters}


def _statistics(one: ModelStatistics) -> dict[str, Any]:
    nothing = Duration()
    durations = {
        "success": one.success,
        "fail": one.fail,
        "queue": one.queue,
        "compute_input": one.compute_input,
        "compute_infer": one.compute_infer,
        "compute_output": one.compute_output,
        "cache_hit": nothing,
        "cache_miss": nothing,
    }
    return {
        "name": one.name,
        "version": one.version,
        "last_inference": one.last_inference,
        "inference_count": one.inference_count,
        "execution_count": one.execution_count,
        "inference_stats": {name: _duration(value) for name, value in durations.items()},
        "batch_stats": [
            {
                "batch_size": batch.batch_size,
                "compute_input": _duration(batch.compute_input),
                "compute_infer": _duration(batch.compute_infer),
                "compute_output": _duration(batch.compute_output),
            }
            for batch in one.batches
        ],
    }


def _duration(value: Duration) -> dict[str, int]:
    return {"count": value.count, "ns": value.ns}
