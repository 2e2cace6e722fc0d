from __future__ import annotations

import asyncio
import threading

from segx_serve.admission import Admission
from segx_serve.job import Job, Payload
from segx_serve.mailbox import Mailbox


class CountingLoop(asyncio.SelectorEventLoop):
    """A real loop that counts how often other threads wake it."""

    wakes = 0

    def call_soon_threadsafe(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.wakes += 1
        return super().call_soon_threadsafe(*args, **kwargs)


def make_job(loop: asyncio.AbstractEventLoop) -> Job:
    return Job(b"", Admission(9, 9).ticket(), lambda job: Payload(b"", ""), loop.create_future(), None)


def test_jobs_of_one_post_and_of_posts_close_together_share_a_wake_up() -> None:
    loop = CountingLoop()
    mailbox = Mailbox()
    mailbox.open(loop)
    jobs = [make_job(loop) for _ in range(30)]

    async def main() -> None:
        # The loop is busy here, so nothing is delivered before all three posts are in.
        for start in (0, 10, 20):
            mailbox.post(jobs[start : start + 10])
        await asyncio.gather(*(job.done for job in jobs))

    loop.run_until_complete(main())
    assert loop.wakes == 1
    loop.close()


def test_every_job_arrives_when_many_threads_post() -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox()
    mailbox.open(loop)
    jobs = [make_job(loop) for _ in range(400)]

    async def main() -> None:
        threads = [
            threading.Thread(target=lambda part=jobs[i::4]: [mailbox.post([one]) for one in part]) for i in range(4)
        ]
        for thread in threads:
            thread.start()
        done = await asyncio.wait_for(asyncio.gather(*(job.done for job in jobs)), 30)
        assert done == jobs
        for thread in threads:
            thread.join()

    loop.run_until_complete(main())
    loop.close()


def test_a_post_after_the_loop_has_closed_is_harmless() -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox()
    mailbox.open(loop)
    job = make_job(loop)
    loop.close()
    mailbox.post([job])
    assert not job.done.done()
