from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from segx_core.runner import ClassMap, Runner, UInt8
from segx_serve.admission import Admission
from segx_serve.batcher import Batcher
from segx_serve.engine import Engine, RunnerError, run_checked
from segx_serve.job import ExpiredError, GoneError, Job, Payload


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def job(loop: asyncio.AbstractEventLoop, pixels: UInt8, deadline: float | None = None) -> Job:
    made = Job(b"", Admission(9, 9).ticket(), lambda job: Payload(b"", ""), loop.create_future(), deadline)
    made.picture = pixels
    return made


def run_all(runner: Runner, jobs: list[Job]) -> tuple[Engine, list[int]]:
    """Put all jobs into one engine and let it finish."""
    batcher = Batcher(1, 16, 10**6)
    sizes: list[int] = []
    warm_up = np.zeros((1, 8, 8, 3), np.uint8)
    engine = Engine("m", runner, batcher, 1, warm_up, lambda jobs: None, lambda count, took: sizes.append(count))
    for one in jobs:
        batcher.put(one)
    engine.start()
    engine.stop(30)
    return engine, sizes


def test_jobs_of_one_size_run_together_and_get_their_own_maps(
    kit: SimpleNamespace, loop: asyncio.AbstractEventLoop
) -> None:
    jobs = [job(loop, kit.picture(seed)) for seed in range(4)]
    _, sizes = run_all(kit.Brightness(), jobs)
    assert sizes == [4]
    for seed, one in enumerate(jobs):
        np.testing.assert_array_equal(one.classmap, kit.Brightness().run(kit.picture(seed)[None])[0])


def test_a_poisoned_picture_fails_alone(
    kit: SimpleNamespace, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [job(loop, kit.picture(1)), job(loop, kit.poisoned()), job(loop, kit.picture(2))]
    with caplog.at_level(logging.WARNING, "segx.serve"):
        _, sizes = run_all(kit.Picky(), jobs)
    assert sizes == [1, 1]
    assert [type(one.error) for one in jobs] == [type(None), RunnerError, type(None)]
    assert "retried one by one" in caplog.text
    assert "cannot digest" in caplog.text


def test_jobs_nobody_waits_for_are_not_run(kit: SimpleNamespace, loop: asyncio.AbstractEventLoop) -> None:
    gone, late, live = (
        job(loop, kit.picture(1)),
        job(loop, kit.picture(2), time.perf_counter() - 1),
        job(loop, kit.picture(3)),
    )
    gone.gone = True
    _, sizes = run_all(kit.Brightness(), [gone, late, live])
    assert sizes == [1]
    assert isinstance(gone.error, GoneError)
    assert isinstance(late.error, ExpiredError)
    assert live.classmap is not None


class Wrong:
    def __init__(self, result: object) -> None:
        self.result = result

    def run(self, batch: UInt8) -> ClassMap:
        return self.result  # type: ignore[return-value]


@pytest.mark.parametrize(
    "result", [None, np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 5), np.uint8), np.zeros((4, 4), np.uint8)]
)
def test_a_runner_is_held_to_its_protocol(result: object) -> None:
    with pytest.raises(RunnerError, match="got"):
        run_checked(Wrong(result), np.zeros((1, 4, 4, 3), np.uint8))


def test_a_failed_warm_up_leaves_the_engine_unready_but_working(
    kit: SimpleNamespace, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    class ColdStart:
        def run(self, batch: UInt8) -> ClassMap:
            if not batch.any():
                raise RuntimeError("no")
            return kit.Brightness().run(batch)

    one = job(loop, kit.picture(1))
    engine, _ = run_all(ColdStart(), [one])
    assert not engine.ready.is_set()
    assert "warm-up" in engine.failure
    assert one.classmap is not None
    assert "warm-up" in caplog.text


def test_threads_end_with_the_engine(kit: SimpleNamespace, loop: asyncio.AbstractEventLoop) -> None:
    run_all(kit.Brightness(), [])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("segx-engine")]
