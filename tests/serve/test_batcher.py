from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_serve.batcher import Batcher
from segx_serve.job import Wait, Work


def job(height: int, width: int) -> Work:
    made = Work(Wait(None), 0.0)
    made.picture = np.zeros((height, width, 3), np.uint8)
    return made


def drain(batcher: Batcher[Work]) -> list[list[Work]]:
    batcher.close()
    batches = []
    while (jobs := batcher.take()) is not None:
        batches.append(jobs)
    return batches


def test_one_engine_takes_all_of_one_size_at_once() -> None:
    batcher: Batcher[Work] = Batcher(1, 8, 10**6)
    jobs = [job(4, 4) for _ in range(5)]
    for one in jobs:
        batcher.put(one)
    assert batcher.take() == jobs
    assert len(batcher) == 0


def test_several_engines_share_what_waits() -> None:
    batcher: Batcher[Work] = Batcher(2, 8, 10**6)
    for _ in range(5):
        batcher.put(job(4, 4))
    assert [len(jobs) for jobs in drain(batcher)] == [3, 1, 1]


def test_engines_that_do_not_share_take_what_they_can() -> None:
    batcher: Batcher[Work] = Batcher(2, 4, 10**6, shares=False)
    for _ in range(5):
        batcher.put(job(4, 4))
    assert [len(jobs) for jobs in drain(batcher)] == [4, 1]


def test_the_oldest_picture_chooses_the_size() -> None:
    batcher: Batcher[Work] = Batcher(1, 2, 10**6)
    order = [job(4, 4), job(8, 8), job(4, 4), job(4, 4), job(8, 8)]
    for one in order:
        batcher.put(one)
    assert drain(batcher) == [[order[0], order[2]], [order[1], order[4]], [order[3]]]


def test_pixels_bound_a_batch_but_a_large_picture_runs_alone() -> None:
    batcher: Batcher[Work] = Batcher(1, 8, max_pixels=100)
    for side in (7, 7, 7, 20):
        batcher.put(job(side, side))
    assert [len(jobs) for jobs in drain(batcher)] == [2, 1, 1]


def test_a_full_batch_does_not_wait_for_the_timer() -> None:
    batcher: Batcher[Work] = Batcher(1, 2, 10**6, max_wait=3600)
    for _ in range(2):
        batcher.put(job(4, 4))
    jobs = batcher.take()
    assert jobs is not None
    assert len(jobs) == 2


def test_a_waiting_engine_sees_a_batch_of_another_size_fill_up() -> None:
    batcher: Batcher[Work] = Batcher(1, 2, 10**6, max_wait=0.05)
    batcher.put(job(4, 4))
    taken: list[int] = []
    engine = threading.Thread(target=lambda: taken.extend(len(batcher.take() or []) for _ in range(2)))
    engine.start()
    for _ in range(2):
        batcher.put(job(8, 8))
    engine.join(30)
    assert taken == [1, 2]


@given(st.lists(st.sampled_from([(2, 2), (2, 3), (5, 5)]), max_size=40), st.integers(1, 3), st.integers(1, 5))
@settings(deadline=None, derandomize=True)
def test_every_job_comes_out_once_in_batches_of_one_size(
    shapes: list[tuple[int, int]], consumers: int, most: int
) -> None:
    batcher: Batcher[Work] = Batcher(consumers, most, 10**6)
    jobs = [job(*shape) for shape in shapes]
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


@pytest.mark.parametrize(("cost", "taken"), [(0.001, 4), (0.0005, 8), (1.0, 1), (0.0000001, 10)])
def test_a_batch_takes_no_more_time_than_it_may(cost: float, taken: int) -> None:
    batcher: Batcher[Work] = Batcher(1, 16, 10**6, most=0.004)
    batcher.ran(2 * 16, 2 * cost)
    for _ in range(10):
        batcher.put(job(4, 4))
    jobs = batcher.take()
    assert jobs is not None
    assert len(jobs) == taken


def test_without_such_a_bound_a_batch_is_as_large_as_it_may_be_whatever_a_picture_takes() -> None:
    batcher: Batcher[Work] = Batcher(1, 16, 10**6)
    batcher.ran(16, 5.0)
    for _ in range(10):
        batcher.put(job(4, 4))
    assert [len(jobs) for jobs in drain(batcher)] == [10]


@pytest.mark.parametrize(("cost", "sizes"), [(0.00001, [5]), (0.01, [3, 1, 1])])
def test_pictures_of_microseconds_are_not_worth_sharing_out(cost: float, sizes: list[int]) -> None:
    batcher: Batcher[Work] = Batcher(2, 8, 10**6)
    batcher.ran(16, cost)
    for _ in range(5):
        batcher.put(job(4, 4))
    assert [len(jobs) for jobs in drain(batcher)] == sizes


def test_one_run_that_was_held_up_does_not_lead_astray() -> None:
    batcher: Batcher[Work] = Batcher(1, 16, 10**6, most=0.004)
    batcher.ran(16, 0.0005)
    batcher.ran(16, 60.0)
    for _ in range(10):
        batcher.put(job(4, 4))
    jobs = batcher.take()
    assert jobs is not None
    assert len(jobs) == 6  # 0.0005 s grew to 0.00065 s


def test_what_is_drained_is_gone() -> None:
    batcher: Batcher[Work] = Batcher(1, 4, 10**6)
    jobs = [job(side, side) for side in (2, 3, 2)]
    for one in jobs:
        batcher.put(one)
    assert sorted(map(id, batcher.drain())) == sorted(map(id, jobs))
    assert len(batcher) == 0
    assert drain(batcher) == []


def test_jobs_put_together_reach_a_waiting_engine() -> None:
    batcher: Batcher[Work] = Batcher(1, 4, 10**6, max_wait=0.0)
    taken: list[int] = []
    engine = threading.Thread(target=lambda: taken.extend(len(batcher.take() or []) for _ in range(2)))
    engine.start()
    time.sleep(0.01)  # most probably it waits by now; the outcome is the same if it does not
    batcher.put_all([job(4, 4) for _ in range(6)])
    engine.join(30)
    assert taken == [4, 2]


def test_the_work_of_a_batch_is_told_by_its_pixels() -> None:
    batcher: Batcher[Work] = Batcher(2, 4, 10**6, most=0.004)
    assert not batcher.brief(1, 16)  # nothing is known yet
    batcher.ran(16, 0.0001)
    assert batcher.brief(4, 4 * 16)
    assert not batcher.brief(5, 5 * 16)  # more than a batch
    assert not batcher.brief(1, 16 * 100)  # one large picture
    batcher.put(job(4, 4))
    assert not batcher.brief(1, 16)  # somebody waits
