"""Both ends of the way to a host in one process: a real link, a real guest, a real engine, real shared memory."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segx_core.runner import ClassMap, Runner, UInt8
from segx_serve.admission import Admission
from segx_serve.arena import Arena
from segx_serve.engine import Engine, RunnerError
from segx_serve.guests import Guests, GuestWork, finished, together
from segx_serve.job import Call, ExpiredError, GoneError, Job, LostError, Payload
from segx_serve.models import engine_for
from segx_serve.pipeline import Pipeline
from segx_serve.remote import Link, RemoteLane
from segx_serve.settings import Settings
from segx_serve.tally import Tally
from segx_serve.workers import Workers

SIZE = 2**20


class Wide:
    """Every pixel's class is its red value and 1000: more than a byte holds."""

    def run(self, batch: UInt8) -> ClassMap:
        return (batch[..., 0].astype(np.uint16) + 1000).astype(np.uint16)


@dataclass
class Side:
    """A host's side: engines by number behind a Unix socket."""

    path: Path
    engines: dict[int, Engine[GuestWork]] = field(default_factory=dict)
    end: Callable[[], None] = lambda: None


@contextmanager
def host(folder: Path, *runners: Runner) -> Iterator[Side]:
    """Runners 0, 1, ... behind a socket, until left."""
    side = Side(folder / "host.sock")
    settings = Settings(engines=1, run_timeout=5)
    for number, runner in enumerate(runners):
        side.engines[number] = engine_for(f"m{number}", runner, settings, finished, together)
        side.engines[number].start()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(side.path))
    listener.listen()
    guests = Guests(listener, side.engines)
    side.end = guests.end
    reading = threading.Thread(target=guests.serve)
    reading.start()
    try:
        yield side
    finally:
        guests.end()
        reading.join(30)
        assert not reading.is_alive()
        for engine in side.engines.values():
            engine.stop(30)


@dataclass
class Front:
    """A front-end's side: memory, pipeline, link."""

    arena: Arena
    rooms: Arena
    pipeline: Pipeline
    link: Link
    admission: Admission

    async def ask(self, *sources: Any, model: int = 0, deadline: float | None = None) -> list[Job]:
        """Send pictures, wait for all of them, and close the ticket."""
        call, ended = self.start(*sources, model=model, deadline=deadline)
        await asyncio.wait_for(ended, 30)
        call.ticket.close()
        return call.jobs

    def start(self, *sources: Any, model: int = 0, deadline: float | None = None) -> tuple[Call, asyncio.Future[None]]:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def encode(job: Job) -> Payload:
            assert job.classmap is not None
            return Payload(job.classmap.astype("<u2").tobytes(), "raw")

        def done(call: Call) -> None:
            ended.set_result(None)

        call = Call(sources, self.admission.ticket(), encode, 0, deadline, done)
        self.pipeline.submit(call, RemoteLane(self.link, model))
        return call, ended

    def nothing_held(self) -> bool:
        """Whether every byte of both arenas is free."""
        held = [one.take(SIZE) for one in (self.arena, self.rooms)]
        for one, start in zip((self.arena, self.rooms), held, strict=True):
            if start is not None:
                one.give(start, SIZE)
        return held == [0, 0] and self.link.depth == 0 and self.admission.bytes == 0


def with_front(path: Path, what: Callable[[Front], Awaitable[None]]) -> None:
    async def main() -> None:
        workers = Workers(2, "codec")
        arena, rooms = Arena(SIZE, shared=True), Arena(SIZE, shared=True)
        pipeline = Pipeline(workers, Tally(), arena, rooms, 10**6)
        pipeline.open(asyncio.get_running_loop())
        workers.start()
        link = Link(pipeline, arena, rooms)
        try:
            link.open(path)
            await what(Front(arena, rooms, pipeline, link, Admission(99, SIZE)))
        finally:
            link.close()
            await asyncio.to_thread(workers.stop, 30)
            arena.close()
            rooms.close()

    asyncio.run(main())


def result(job: Job, shape: tuple[int, int]) -> Any:
    assert job.error is None, job.error
    assert job.payload is not None
    return np.frombuffer(job.payload.body, "<u2").reshape(shape)


def test_maps_come_back_right_whether_decoded_here_or_in_a_thread(kit: SimpleNamespace, tmp_path: Path) -> None:
    async def what(front: Front) -> None:
        pictures = [kit.picture(seed, *((24, 32), (40, 8), (64, 64))[seed % 3]) for seed in range(30)]
        jobs = await front.ask(*map(kit.as_png, pictures))
        small = [kit.as_jpeg(pixels) for pixels in pictures]
        decoded = [kit.np.asarray(kit.Image.open(kit.io.BytesIO(data))) for data in small]
        jobs += await front.ask(*pictures)
        jobs += await front.ask(*small)
        for pixels, job in zip([*pictures, *pictures, *decoded], jobs, strict=True):
            np.testing.assert_array_equal(result(job, pixels.shape[:2]), kit.Brightness().run(pixels[None])[0])
        assert sum(1 / job.batch for job in jobs) == pytest.approx(sum(job.first for job in jobs))
        assert front.nothing_held()

    with host(tmp_path, kit.Brightness()) as side:
        with_front(side.path, what)


def test_more_classes_than_a_byte_holds(kit: SimpleNamespace, tmp_path: Path) -> None:
    async def what(front: Front) -> None:
        (wide,) = await front.ask(kit.picture(1), model=1)
        (narrow,) = await front.ask(kit.picture(1), model=0)
        np.testing.assert_array_equal(result(wide, (24, 32)), kit.picture(1)[..., 0].astype(np.uint16) + 1000)
        np.testing.assert_array_equal(result(narrow, (24, 32)), kit.Brightness().run(kit.picture(1)[None])[0])

    with host(tmp_path, kit.Brightness(), Wide()) as side:
        with_front(side.path, what)


def test_failures_travel_as_what_they_are(kit: SimpleNamespace, tmp_path: Path) -> None:
    async def what(front: Front) -> None:
        good, bad, other = await front.ask(kit.picture(1), kit.poisoned(), kit.picture(2))
        assert isinstance(bad.error, RunnerError)
        assert "secret" not in str(bad.error)
        assert good.error is None
        assert other.error is None
        (unknown,) = await front.ask(kit.picture(1), model=7)
        assert isinstance(unknown.error, LostError)
        assert front.nothing_held()

    with host(tmp_path, kit.Picky()) as side:
        with_front(side.path, what)


def test_what_waits_too_long_or_for_nobody_is_not_run(kit: SimpleNamespace, tmp_path: Path) -> None:
    slow = kit.Gated()

    async def what(front: Front) -> None:
        slow.entered.acquire()  # the warm-up
        late, late_ended = front.start(kit.picture(1), deadline=kit.time.perf_counter() + 0.3)
        gone, gone_ended = front.start(kit.as_png(kit.picture(2)))
        while side.engines[0].depth < 2:
            await asyncio.sleep(0.001)
        gone.gone = True
        while not any(work.wait.gone for work in waiting(side)) or kit.time.perf_counter() < (late.deadline or 0):
            await asyncio.sleep(0.005)
        slow.gate.set()
        await asyncio.wait_for(asyncio.gather(late_ended, gone_ended), 30)
        assert isinstance(late.jobs[0].error, ExpiredError)
        assert isinstance(gone.jobs[0].error, GoneError)
        assert slow.batches == [1]
        for call in (late, gone):
            call.ticket.close()
        assert front.nothing_held()

    with host(tmp_path, slow) as side:
        with_front(side.path, what)


def waiting(side: Side) -> list[GuestWork]:
    """What the engines' queues hold."""
    groups = [group for engine in side.engines.values() for group in list(engine._batcher._groups.values())]
    return [work for group in groups for _, work in list(group)]


def test_all_that_a_host_holds_ends_with_it(kit: SimpleNamespace, tmp_path: Path) -> None:
    slow = kit.Gated()

    async def what(front: Front) -> None:
        call, ended = front.start(*(kit.picture(seed) for seed in range(5)))
        while front.link.depth < 5:
            await asyncio.sleep(0.001)
        lane = RemoteLane(front.link, 0)
        assert (lane.ready, lane.refuses, lane.depth) == (True, "", 5)
        assert lane.overdue(3600) == []
        side.end()
        await asyncio.wait_for(ended, 30)
        assert [type(job.error) for job in call.jobs] == [LostError] * 5
        call.ticket.close()
        assert not lane.ready
        assert lane.refuses == "it is being started"
        assert RemoteLane(front.link, 0, "its file is broken").refuses == "its file is broken"
        (late,) = await front.ask(kit.picture(1))
        assert isinstance(late.error, LostError)
        assert front.nothing_held()
        slow.gate.set()

    with host(tmp_path, slow) as side:
        with_front(side.path, what)


def test_a_model_whose_host_was_never_there_says_so() -> None:
    lane = RemoteLane(None, 3)
    assert (lane.ready, lane.failure, lane.refuses, lane.depth, lane.overdue(0)) == (
        False, "", "it is being started", 0, [],
    )  # fmt: skip
