from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

from segx_serve.job import Job
from segx_serve.mailbox import Mailbox


class CountingLoop(asyncio.SelectorEventLoop):
    """A real loop that counts how often other threads wake it."""

    wakes = 0

    def call_soon_threadsafe(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.wakes += 1
        return super().call_soon_threadsafe(*args, **kwargs)


def test_jobs_of_one_post_and_of_posts_close_together_share_a_wake_up(kit: SimpleNamespace) -> None:
    loop = CountingLoop()
    came: list[Job] = []
    all_there = asyncio.Event()

    def deliver(job: Job) -> None:
        came.append(job)
        if len(came) == 30:
            all_there.set()

    mailbox = Mailbox(deliver)
    mailbox.open(loop)
    jobs = [kit.make_job() for _ in range(30)]

    async def main() -> None:
        # The loop is busy here, so nothing is delivered before all three posts are in.
        for start in (0, 10, 20):
            mailbox.post(jobs[start : start + 10])
        assert not came
        await all_there.wait()

    loop.run_until_complete(main())
    assert came == jobs
    assert loop.wakes == 1
    loop.close()


def test_every_job_arrives_once_on_the_loop_when_many_threads_post(kit: SimpleNamespace) -> None:
    loop = asyncio.new_event_loop()
    came: list[Job] = []
    where: set[int] = set()
    all_there = asyncio.Event()

    def deliver(job: Job) -> None:
        came.append(job)
        where.add(threading.get_ident())
        if len(came) == 400:
            all_there.set()

    mailbox = Mailbox(deliver)
    mailbox.open(loop)
    jobs = [kit.make_job() for _ in range(400)]

    async def main() -> None:
        threads = [
            threading.Thread(target=lambda part=jobs[i::4]: [mailbox.post([one]) for one in part]) for i in range(4)
        ]
        for thread in threads:
            thread.start()
        await asyncio.wait_for(all_there.wait(), 30)
        for thread in threads:
            thread.join()

    loop.run_until_complete(main())
    assert sorted(map(id, came)) == sorted(map(id, jobs))
    for i in range(4):  # each thread's own in their order
        own = [id(one) for one in jobs[i::4]]
        assert [id(one) for one in came if id(one) in set(own)] == own
    assert where == {threading.get_ident()}
    loop.close()


def test_a_post_after_the_loop_has_closed_is_harmless(kit: SimpleNamespace) -> None:
    loop = asyncio.new_event_loop()
    came: list[Job] = []
    mailbox = Mailbox(came.append)
    mailbox.open(loop)
    loop.close()
    mailbox.post([kit.make_job()])
    assert came == []
