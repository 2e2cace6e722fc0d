"""Opening model files for the service: names, threads that fit, and the quality gate's word. Starts nothing."""

from __future__ import annotations

from pathlib import Path

from segx_core.cores import cores
from segx_core.errors import ModelError
from segx_core.predictor import Predictor
from segx_serve.settings import Settings


def load(path: Path, settings: Settings, provider: str, card: Path | None, force: bool) -> Predictor:
    """Open one model file, with threads that fit the number of engines.

    Raises:
        ModelError: it cannot be used, or its gate rejected it and `force` is not set.
        SetupError: the provider is not there.
    """
    threads = settings.threads or max(1, cores() // settings.engine_threads(on_cpu=True))
    predictor = Predictor.load(path, provider=provider, card=card, threads=threads)
    gate = predictor.card.gate
    if gate.status == "rejected" and not force:
        raise ModelError(
            "a model that passed its quality gate",
            f"{path.name}, which was rejected: {'; '.join(gate.reasons) or 'no reason recorded'}",
            "Export it anew with other settings, or serve it all the same with --force.",
        )
    return predictor
