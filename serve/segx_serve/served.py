"""The service as the Open Inference Protocol sees it; see oip/service.py for what is asked of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from segx_core.meaning import meaning
from segx_core.runner import ClassMap, UInt8
from segx_serve import tally
from segx_serve.admission import FullError
from segx_serve.job import Job, Payload
from segx_serve.models import Model
from segx_serve.oip.service import BatchStatistics, Duration, IndexEntry, ModelInfo, ModelStatistics
from segx_serve.service import Service
from segx_serve.settings import on_gpu

_NOTHING = Payload(b"", "")


class Served:
    """A Service of oip/ over a serving process."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def classmaps(
        self, request_id: str, model: str, version: str, pictures: Sequence[bytes | UInt8]
    ) -> list[ClassMap]:
        """Picture files or decoded (H, W, 3) uint8 RGB -> their (H, W) class maps.

        Raises:
            RefusalError: the first picture's that failed.
        """
        started = time.perf_counter()
        desk = self._service.desk
        found = self._service.catalog.find(model, version)
        maps: dict[Job, ClassMap] = {}

        def keep(job: Job) -> Payload:
            # A copy: where it lies now belongs to another picture soon.
            assert job.classmap is not None
            maps[job] = job.classmap.copy()
            return _NOTHING

        with desk.admission.ticket() as ticket:
            try:
                call = await desk.wait(found, pictures, ticket, keep, light=128 * 128)
            except FullError as full:
                raise desk.shed(full.reason) from None
        desk.close(call, found, time.perf_counter() - started)
        for job in call.jobs:
            if job.error is not None:
                raise desk.refusal(job.error, request_id)
        return [maps[job] for job in call.jobs]

    def metadata(self, model: str, version: str) -> ModelInfo:
        """The model; the newest version where none is named.

        Raises:
            RefusalError: 404.
        """
        catalog, settings = self._service.catalog, self._service.settings
        found = catalog.find(model, version)
        card = found.card
        return ModelInfo(
            name=found.name,
            versions=tuple(reversed(catalog.versions(model))),
            datatype="UINT16" if card and meaning(card.task).map_type(len(card.classes)).itemsize == 2 else "UINT8",
            ready=found.lane.ready,
            classes=len(card.classes) if card else None,
            size=None,  # pictures of any size are taken and brought to the graph's own
            platform="segx_runner" if found.provider == "custom" else "onnx_onnxv1",
            max_batch=settings.max_batch,
            max_wait_us=round(settings.max_wait_ms * 1000),
            engines=settings.engine_threads(found.provider),
            gpu=on_gpu(found.provider),
            parameters={"task": found.task, "provider": found.provider, "precision": found.precision},
        )

    def models(self) -> list[IndexEntry]:
        """Every known model and version, served or not."""
        served = [_entry(model) for model in self._service.catalog]
        gone = [IndexEntry(name, "", "UNAVAILABLE", why) for name, why in self._service.unloaded.items()]
        return [*served, *gone]

    async def load(self, model: str) -> None:
        """Load a model, or load it anew."""
        await self._service.load(model)

    async def unload(self, model: str) -> None:
        """Stop serving a model."""
        await self._service.unload(model)

    async def statistics(self, model: str, version: str) -> list[ModelStatistics]:
        """Of every version served, or of one; of all models where `model` is ""."""
        catalog = self._service.catalog
        if model:
            catalog.find(model, version)
        snapshot = await self._service.snapshot()
        counted = {(name, number): counts for name, number, counts in snapshot["models"]}
        empty = tally.ModelTally().snapshot()
        return [
            _statistics(one, counted.get((one.name, one.version), empty))
            for one in catalog
            if model in ("", one.name) and version in ("", one.version)
        ]

    def is_ready(self) -> bool:
        """Whether every model that should be served can be used."""
        return all(model.lane.ready for model in self._service.catalog)


def _entry(model: Model) -> IndexEntry:
    if model.lane.ready:
        return IndexEntry(model.name, model.version, "READY")
    if model.lane.failure:
        return IndexEntry(model.name, model.version, "UNAVAILABLE", model.lane.failure)
    return IndexEntry(model.name, model.version, "LOADING")


def _statistics(model: Model, counts: dict[str, Any]) -> ModelStatistics:
    took, pictures = counts["nanoseconds"], counts["pictures"]
    runs = {int(size): Duration(*entry) for size, entry in counts["batches"].items()}
    return ModelStatistics(
        name=model.name,
        version=model.version,
        last_inference=counts["last"],
        inference_count=pictures,
        execution_count=sum(run.count for run in runs.values()),
        success=Duration(counts["requests"], took["success"]),
        fail=Duration(counts["failed"], took["fail"]),
        queue=Duration(pictures, took["queue"]),
        compute_input=Duration(pictures, took["decode"]),
        compute_infer=Duration(pictures, took["run"]),
        compute_output=Duration(pictures, took["encode"]),
        batches=tuple(BatchStatistics(size, Duration(), run, Duration()) for size, run in sorted(runs.items())),
    )
