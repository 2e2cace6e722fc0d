from __future__ import annotations

import logging
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from segx_core.runner import ClassMap, Runner, UInt8
from segx_serve.batcher import Batcher
from segx_serve.engine import Engine, RunnerError, run_checked
from segx_serve.job import ExpiredError, GoneError, Job, LostError


def run_all(runner: Runner, jobs: list[Job], count: int = 1) -> tuple[Engine[Job], list[list[Job]]]:
    """Put all jobs into one engine and let it finish; also the lists in which they came back."""
    batcher: Batcher[Job] = Batcher(1, 16, 10**6)
    came: list[list[Job]] = []
    warm_up = np.zeros((1, 8, 8, 3), np.uint8)
    engine = Engine("m", runner, batcher, count, warm_up, came.append, lambda jobs: None)
    for one in jobs:
        batcher.put(one)
    engine.start()
    engine.stop(30)
    return engine, came


def sizes(jobs: list[Job]) -> list[int]:
    """The sizes of the batches that ran."""
    return [one.batch for one in jobs if one.first]


def test_jobs_of_one_size_run_together_and_get_their_own_maps(kit: SimpleNamespace) -> None:
    jobs = [kit.make_job(kit.picture(seed)) for seed in range(4)]
    _, came = run_all(kit.Brightness(), jobs)
    assert came == [jobs]
    assert sizes(jobs) == [4]
    assert [one.batch for one in jobs] == [4] * 4
    for seed, one in enumerate(jobs):
        np.testing.assert_array_equal(one.classmap, kit.Brightness().run(kit.picture(seed)[None])[0])


def test_a_poisoned_picture_fails_alone(kit: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    jobs = [kit.make_job(kit.picture(1)), kit.make_job(kit.poisoned()), kit.make_job(kit.picture(2))]
    with caplog.at_level(logging.WARNING, "segx.serve"):
        _, came = run_all(kit.Picky(), jobs)
    assert came == [jobs]
    assert sizes(jobs) == [1, 1]
    assert [one.batch for one in jobs] == [1, 0, 1]
    assert [type(one.error) for one in jobs] == [type(None), RunnerError, type(None)]
    assert caplog.text.count("is halved") == 2
    assert "cannot digest" in caplog.text


def test_jobs_nobody_waits_for_are_not_run(kit: SimpleNamespace) -> None:
    gone, late, live = (
        kit.make_job(kit.picture(1)),
        kit.make_job(kit.picture(2), time.perf_counter() - 1),
        kit.make_job(kit.picture(3)),
    )
    gone.call.gone = True
    _, came = run_all(kit.Brightness(), [gone, late, live])
    assert came == [[gone, late, live]]
    assert sizes([gone, late, live]) == [1]
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
    kit: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    class ColdStart:
        def run(self, batch: UInt8) -> ClassMap:
            if not batch.any():
                raise RuntimeError("no")
            return kit.Brightness().run(batch)

    one = kit.make_job(kit.picture(1))
    engine, _ = run_all(ColdStart(), [one])
    assert not engine.ready
    assert not engine.warmed.is_set()
    assert "warm-up" in engine.failure
    assert one.classmap is not None
    assert "warm-up" in caplog.text


def test_threads_end_with_the_engine(kit: SimpleNamespace) -> None:
    run_all(kit.Brightness(), [])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("segx-engine")]


def test_a_failing_batch_is_halved_down_to_the_pictures_that_fail(kit: SimpleNamespace) -> None:
    pictures = [kit.picture(seed) for seed in range(8)]
    pictures[5] = kit.poisoned()
    ran: list[int] = []

    class Counting(kit.Picky):  # type: ignore[misc, name-defined]
        def run(self, batch: UInt8) -> ClassMap:
            ran.append(len(batch))
            return super().run(batch)

    jobs = [kit.make_job(pixels) for pixels in pictures]
    run_all(Counting(), jobs)
    assert ran == [1, 8, 4, 4, 2, 1, 1, 2]  # the warm-up; the failing half is cut again and again
    assert [one.batch for one in jobs] == [4, 4, 4, 4, 1, 0, 2, 2]
    assert sizes(jobs) == [4, 1, 2]
    assert isinstance(jobs[5].error, RunnerError)
    for pixels, one in zip(pictures, jobs, strict=True):
        if one.error is None:
            np.testing.assert_array_equal(one.classmap, kit.Brightness().run(pixels[None])[0])


def test_too_little_memory_for_a_batch_is_tried_with_less(kit: SimpleNamespace) -> None:
    class Small(kit.Brightness):  # type: ignore[misc, name-defined]
        def run(self, batch: UInt8) -> ClassMap:
            if len(batch) > 2:
                raise MemoryError
            return super().run(batch)

    jobs = [kit.make_job(kit.picture(seed)) for seed in range(4)]
    run_all(Small(), jobs)
    assert sizes(jobs) == [2, 2]


def test_a_run_that_hangs_is_told_and_what_waits_behind_it_is_lost(kit: SimpleNamespace) -> None:
    slow = kit.Gated()
    batcher: Batcher[Job] = Batcher(1, 1, 10**6)
    came: list[list[Job]] = []
    engine = Engine("m", slow, batcher, 1, np.zeros((1, 8, 8, 3), np.uint8), came.append, lambda jobs: None)
    slow.gate.set()
    engine.start()
    assert engine.warmed.wait(30)
    kit.until(lambda: not engine.busy())
    slow.gate.clear()
    jobs = [kit.make_job(kit.picture(seed)) for seed in range(3)]
    for one in jobs:
        engine.put(one)
    slow.entered.acquire()
    slow.entered.acquire()  # the warm-up, and the first picture
    assert engine.overdue(3600) == []
    assert engine.ready
    assert not engine.refuses
    kit.until(lambda: engine.busy() > 0.01)
    assert engine.overdue(0.01) == jobs[:1]
    assert came == [jobs[1:]]
    assert [type(one.error) for one in jobs] == [type(None), LostError, LostError]
    assert engine.overdue(0.01) == jobs[:1]
    assert len(came) == 1
    assert not engine.ready
    assert "0.01 s" in engine.refuses
    assert engine.failure == engine.refuses
    assert engine.depth == 0
    slow.gate.set()
    engine.stop(30)
    assert came == [jobs[1:], jobs[:1]]
    assert slow.batches == [1, 1]
    # The run did end: the model may be used again.
    assert engine.ready
    assert not engine.refuses
