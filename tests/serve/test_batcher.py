from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_serve.admission import Admission
from segx_serve.batcher import Batcher
from segx_serve.job import Job, Payload


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def job(loop: asyncio.AbstractEventLoop, height: int, width: int) -> Job:
    ticket = Admission(99, 99).ticket()
    made = Job(b"", ticket, lambda job: Payload(b"", ""), loop.create_future(), None)
    made.picture = np.zeros((height, width, 3), np.uint8)
    return made


def drain(batcher: Batcher) -> list[list[Job]]:
    batcher.close()
    batches = []
    while (jobs := batcher.take()) is not None:
        batches.append(jobs)
    return batches


def test_one_engine_takes_all_of_one_size_at_once(loop: asyncio.AbstractEventLoop) -> None:
    batcher = Batcher(1, 8, 10**6)
    jobs = [job(loop, 4, 4) for _ in range(5)]
    for one in jobs:
        batcher.put(one)
    assert batcher.take() == jobs
    assert len(batcher) == 0


def test_several_engines_share_what_waits(loop: asyncio.AbstractEventLoop) -> None:
    batcher = Batcher(2, 8, 10**6)
    for _ in range(5):
        batcher.put(job(loop, 4, 4))
    assert [len(jobs) for jobs in drain(batcher)] == [3, 1, 1]


def test_the_oldest_picture_chooses_the_size(loop: asyncio.AbstractEventLoop) -> None:
    batcher = Batcher(1, 2, 10**6)
    order = [job(loop, 4, 4), job(loop, 8, 8), job(loop, 4, 4), job(loop, 4, 4), job(loop, 8, 8)]
    for one in order:
        batcher.put(one)
    assert drain(batcher) == [[order[0], order[2]], [order[1], order[4]], [order[3]]]


def test_pixels_bound_a_batch_but_a_large_picture_runs_alone(loop: asyncio.AbstractEventLoop) -> None:
    batcher = Batcher(1, 8, max_pixels=100)
    for side in (7, 7, 7, 20):
        batcher.put(job(loop, side, side))
    assert [len(jobs) for jobs in drain(batcher)] == [2, 1, 1]


def test_a_full_batch_does_not_wait_for_the_timer(loop: asyncio.AbstractEventLoop) -> None:
    batcher = Batcher(1, 2, 10**6, max_wait=3600)
    for _ in range(2):
        batcher.put(job(loop, 4, 4))
    jobs = batcher.take()
    assert jobs is not None
    assert len(jobs) == 2


def test_a_waiting_engine_sees_a_batch_of_another_size_fill_up(loop: asyncio.AbstractEventLoop) -> None:
    batcher = Batcher(1, 2, 10**6, max_wait=0.05)
    batcher.put(job(loop, 4, 4))
    taken: list[int] = []
    engine = threading.Thread(target=lambda: taken.extend(len(batcher.take() or []) for _ in range(2)))
    engine.start()
    for _ in range(2):
        batcher.put(job(loop, 8, 8))
    engine.join(30)
    assert taken == [1, 2]


@given(st.lists(st.sampled_from([(2, 2), (2, 3), (5, 5)]), max_size=40), st.integers(1, 3), st.integers(1, 5))
@settings(deadline=None, derandomize=True)
def test_every_job_comes_out_once_in_batches_of_one_size(
    loop: asyncio.AbstractEventLoop, shapes: list[tuple[int, int]], consumers: int, most: int
) -> None:
    batcher = Batcher(consumers, most, 10**6)
    jobs = [job(loop, *shape) for shape in shapes]
    for one in jobs:
        batcher.put(one)
    batches = drain(batcher)
    assert sorted(id(one) for batch in batches for one in batch) == sorted(id(one) for one in jobs)
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert len({one.shape for one in batch}) == 1
    for shape in set(shapes):
        came = [one for batch in batches for one in batch if one.shape == shape]
        assert came == [one for one in jobs if one.shape == shape]
