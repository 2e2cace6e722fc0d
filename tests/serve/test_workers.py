from __future__ import annotations

import logging
import threading

import pytest

from segx_serve.workers import Workers


def test_everything_submitted_is_done_before_stop_returns() -> None:
    workers = Workers(3, "segx-some-workers")
    workers.start()
    done: list[int] = []
    for number in range(100):
        workers.submit(lambda number=number: done.append(number))
    workers.stop(30)
    assert sorted(done) == list(range(100))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("segx-some-workers")]


def test_a_task_that_raises_is_logged_and_the_thread_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers(1, "segx-test")
    workers.start()
    done: list[int] = []
    with caplog.at_level(logging.ERROR, "segx.serve"):
        workers.submit(lambda: done.append(1 // 0))
        workers.submit(lambda: done.append(2))
        workers.stop(30)
    assert done == [2]
    assert "ZeroDivisionError" in caplog.text
