"""The protocol's REST addresses: which operation, model, version and region a path names. Knows not what they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Operation = Literal[
    "server", "live", "ready", "metadata", "model_ready", "infer", "config", "stats", "index", "load", "unload",
    "shm_status", "shm_register", "shm_unregister",
]  # fmt: skip

ADMIN: frozenset[Operation] = frozenset({"load", "unload", "shm_register", "shm_unregister"})
"""What changes the service for everybody."""
PATTERNS: dict[Operation, str] = {
    "server": "/v2",
    "live": "/v2/health/live",
    "ready": "/v2/health/ready",
    "metadata": "/v2/models/{model}",
    "model_ready": "/v2/models/{model}/ready",
    "infer": "/v2/models/{model}/infer",
    "config": "/v2/models/{model}/config",
    "stats": "/v2/models/{model}/stats",
    "index": "/v2/repository/index",
    "load": "/v2/repository/models/{model}/load",
    "unload": "/v2/repository/models/{model}/unload",
    "shm_status": "/v2/systemsharedmemory/region/{region}/status",
    "shm_register": "/v2/systemsharedmemory/region/{region}/register",
    "shm_unregister": "/v2/systemsharedmemory/region/{region}/unregister",
}
"""What each operation's requests are counted under; addresses with a version, or for all models, count with it."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where a path leads."""

    operation: Operation
    method: Literal["GET", "POST"]
    model: str = ""
    version: str = ""
    region: str = ""


def match(path: str) -> Match | None:
    """A path, percent-decoded, e.g. /v2/models/roads/versions/1/infer. None for one the protocol does not have."""
    match path.rstrip("/").split("/"):
        case ["", "v2", "models", "stats"]:
            # As the protocol has it, though a model named "stats" is hidden by it.
            return Match("stats", "GET")
        case ["", "v2", "models", model, "versions", version, *rest] if model and version:
            return _of_model(model, version, rest)
        case ["", "v2", "models", model, *rest] if model:
            return _of_model(model, "", rest)
        case ["", "v2"]:
            return Match("server", "GET")
        case ["", "v2", "health", "live"]:
            return Match("live", "GET")
        case ["", "v2", "health", "ready"]:
            return Match("ready", "GET")
        case ["", "v2", "repository", "index"]:
            return Match("index", "POST")
        case ["", "v2", "repository", "models", model, "load"] if model:
            return Match("load", "POST", model)
        case ["", "v2", "repository", "models", model, "unload"] if model:
            return Match("unload", "POST", model)
        case ["", "v2", "systemsharedmemory", *rest]:
            return _of_memory(rest)
    return None


def _of_model(model: str, version: str, rest: list[str]) -> Match | None:
    match rest:
        case []:
            return Match("metadata", "GET", model, version)
        case ["infer"]:
            return Match("infer", "POST", model, version)
        case ["ready"]:
            return Match("model_ready", "GET", model, version)
        case ["config"]:
            return Match("config", "GET", model, version)
        case ["stats"]:
            return Match("stats", "GET", model, version)
    return None


def _of_memory(rest: list[str]) -> Match | None:
    match rest:
        case ["status"]:
            return Match("shm_status", "GET")
        case ["unregister"]:
            return Match("shm_unregister", "POST")
        case ["region", region, "status"] if region:
            return Match("shm_status", "GET", region=region)
        case ["region", region, "register"] if region:
            return Match("shm_register", "POST", region=region)
        case ["region", region, "unregister"] if region:
            return Match("shm_unregister", "POST", region=region)
    return None
