"""Models loaded, loaded again and unloaded in one process, beside the pictures it works on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from segx_core.errors import ModelError
from segx_serve import metrics
from segx_serve.http import RefusalError
from segx_serve.job import Call, Job, Payload
from segx_serve.local import FileService
from segx_serve.repository import Repository
from segx_serve.settings import Settings


def with_service(folder: Path, what: Callable[[FileService], Awaitable[None]]) -> None:
    async def main() -> None:
        service = FileService(Repository([folder]), Settings(codecs=1, engines=1, drain_seconds=5), "cpu", False)
        await service.start()
        try:
            while not all(model.lane.ready for model in service.catalog):
                await asyncio.sleep(0.002)
            await what(service)
        finally:
            await service.stop()

    asyncio.run(main())


async def ask(service: FileService, pixels: Any, name: str, version: str = "") -> Any:
    """The class map of a picture."""
    ended: asyncio.Future[Call] = asyncio.get_running_loop().create_future()

    def encode(job: Job) -> Payload:
        assert job.classmap is not None
        return Payload(job.classmap.tobytes(), "raw")

    ticket = service.desk.admission.ticket()
    model = service.catalog.find(name, version)
    service.desk.start(model, [pixels], ticket, encode, 0, ended.set_result)
    (job,) = (await asyncio.wait_for(ended, 30)).jobs
    ticket.close()
    assert job.payload is not None, job.error
    return np.frombuffer(job.payload.body, np.uint8).reshape(pixels.shape[:2])


def expected(pixels: Any, step: int) -> Any:
    return (pixels.mean(axis=-1) // step).astype(np.uint8)


def test_a_changed_file_is_loaded_while_pictures_are_worked_on(kit: SimpleNamespace, tmp_path: Path) -> None:
    kit.write_model(tmp_path / "m.onnx", kit.card())
    pixels = kit.picture(1)
    old, new = expected(pixels, 64), expected(pixels, 128)
    assert (old != new).any()

    async def what(service: FileService) -> None:
        over = asyncio.Event()
        seen: list[bool] = []

        async def keep_asking() -> None:
            while not over.is_set():
                found = await ask(service, pixels, "m")
                assert (found == old).all() or (found == new).all()
                seen.append(bool((found == new).all()))

        asking = [asyncio.create_task(keep_asking()) for _ in range(3)]
        while len(seen) < 10:
            await asyncio.sleep(0.002)
        kit.write_model(tmp_path / "m.onnx", kit.card(), step=128.0)
        await service.load("m")
        before = len(seen)
        while len(seen) < before + 10:
            await asyncio.sleep(0.002)
        over.set()
        await asyncio.gather(*asking)
        assert seen[0] is False
        assert all(seen[before + 3 :])
        assert len(service.parts) == 1

    with_service(tmp_path, what)


def test_a_broken_file_changes_nothing(kit: SimpleNamespace, tmp_path: Path) -> None:
    path = kit.write_model(tmp_path / "m.onnx", kit.card())

    async def what(service: FileService) -> None:
        path.write_bytes(b"rubbish")
        with pytest.raises(RefusalError) as error:
            await service.load("m")
        assert (error.value.status, error.value.code) == (400, "model_broken")
        assert (await ask(service, kit.picture(1), "m") == expected(kit.picture(1), 64)).all()
        with pytest.raises(RefusalError) as error:
            await service.load("other")
        assert (error.value.status, error.value.code) == (404, "unknown_model")

    with_service(tmp_path, what)
    with pytest.raises(ModelError):
        with_service(tmp_path, what)


def test_a_file_that_opens_but_cannot_run_changes_nothing(kit: SimpleNamespace, tmp_path: Path) -> None:
    path = kit.write_model(tmp_path / "m.onnx", kit.card())

    async def what(service: FileService) -> None:
        kit.write_failing_model(path, kit.card())
        with pytest.raises(RefusalError, match="warm-up") as error:
            await service.load("m")
        assert (error.value.status, error.value.code) == (400, "model_broken")
        assert (await ask(service, kit.picture(1), "m") == expected(kit.picture(1), 64)).all()
        assert len(service.parts) == 1

    with_service(tmp_path, what)


def test_models_come_and_go(kit: SimpleNamespace, tmp_path: Path) -> None:
    kit.write_model(tmp_path / "first.onnx", kit.card())

    async def what(service: FileService) -> None:
        kit.write_model(tmp_path / "second.onnx", kit.card(), step=32.0)
        await service.load("second")
        assert service.catalog.names == ["first", "second"]
        assert (await ask(service, kit.picture(2), "second") == expected(kit.picture(2), 32)).all()
        await service.unload("first")
        assert service.catalog.names == ["second"]
        with pytest.raises(RefusalError) as error:
            await service.unload("first")
        assert error.value.status == 404
        await service.load("first")
        assert service.catalog.names == ["first", "second"]

    with_service(tmp_path, what)


def test_versions_are_served_beside_each_other_and_told_apart_in_metrics(kit: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for version, step in (("2", 64.0), ("10", 128.0)):
        kit.write_model(tmp_path / "m" / f"{version}.onnx", kit.card(), step=step)

    async def what(service: FileService) -> None:
        pixels = kit.picture(3)
        assert service.catalog.versions("m") == ["10", "2"]
        assert (await ask(service, pixels, "m") == expected(pixels, 128)).all()
        assert (await ask(service, pixels, "m", "2") == expected(pixels, 64)).all()
        text = metrics.text(await service.snapshot()).decode()
        samples = [
            (sample.name, tuple(sorted(sample.labels.items())))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
        assert len(set(samples)) == len(samples)  # Prometheus refuses a sample that comes twice
        assert ("segx_queue_depth", (("model", "m"), ("version", "10"))) in samples

    with_service(tmp_path, what)
