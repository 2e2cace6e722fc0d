"""What the service tells of itself: health, Open Inference Protocol metadata, the list the web page draws from.

Only true things: an extension or route that does not exist is not announced.
"""

from __future__ import annotations

from typing import Any

from segx_serve.catalog import Catalog
from segx_serve.http import Reply, as_json
from segx_serve.models import Model
from segx_serve.oip.routes import Oip
from segx_serve.settings import LIMITS, Settings


def live() -> Reply:
    """The process answers."""
    return as_json({"live": True})


def ready(catalog: Catalog) -> Reply:
    """200 once every model has been warmed up, else 503 with who is not."""
    waiting = {model.name: model.lane.failure or "warming up" for model in catalog if not model.lane.ready}
    if waiting:
        return as_json({"ready": False, "waiting": waiting}, 503)
    return as_json({"ready": True})


def server(settings: Settings, oip: Oip) -> Reply:
    """Open Inference Protocol server metadata, with the limits."""
    limits = settings.model_dump(include=set(LIMITS))
    return oip.server({"limits": limits})


def models(catalog: Catalog, sample: bool) -> Reply:
    """The models with their classes, colours and measurements."""
    return as_json({"models": [_model(model) for model in catalog.newest], "sample": sample})


def _model(model: Model) -> dict[str, Any]:
    card = model.card
    return {
        "name": model.name,
        "task": model.task,
        "provider": model.provider,
        "precision": model.precision,
        "size_bytes": model.size_bytes,
        "gate": card.gate.status if card else None,
        "classes": list(card.classes) if card else None,
        "palette": [list(color) for color in model.palette],
        "measurements": [row.model_dump() for row in card.measurements] if card else [],
    }
