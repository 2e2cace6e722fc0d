"""Where routes hand in pictures: admission, the call through the pipeline, and what its failures are answered with.

It knows neither how a request names its pictures nor how the answer looks.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Container, Sequence

from segx_core.errors import PictureError
from segx_core.runner import UInt8
from segx_serve.admission import Admission, FullError, Ticket
from segx_serve.body import ClientGoneError
from segx_serve.http import Headers, RefusalError, Request
from segx_serve.job import Call, Encode, ExpiredError, GoneError, LostError, StoppedError
from segx_serve.models import Model
from segx_serve.pipeline import Pipeline
from segx_serve.settings import Settings
from segx_serve.tally import Tally

_log = logging.getLogger("segx.serve")
_STATUS = {"broken": 400, "too_large": 413, "unsupported": 415}
# Two values in turn: clients that were sent away together do not come back together.
_RETRIES: tuple[Headers, ...] = (((b"retry-after", b"1"),), ((b"retry-after", b"2"),))
_SHED = {
    "requests": "The service is working on as many requests as it may take.",
    "bytes": "The service holds as many bytes of pictures as it may.",
    "deadline": "The request waited longer than its deadline.",
    "memory": "The service ran out of memory on this picture.",
    "lost": "What runs the model ended while it held this request, and is being started again.",
}


class Desk:
    """One per process; used on its event loop."""

    def __init__(self, settings: Settings, admission: Admission, pipeline: Pipeline, tally: Tally) -> None:
        self.settings = settings
        self.admission = admission
        self.tally = tally
        self._pipeline = pipeline
        self._open: set[Call] = set()
        self._retries = itertools.cycle(_RETRIES)

    def start(
        self,
        model: Model,
        sources: Sequence[bytes | UInt8],
        ticket: Ticket,
        encode: Encode,
        light: int,
        done: Callable[[Call], None],
    ) -> Call:
        """Send pictures on their way; `done` is called on the event loop, perhaps before this returns.

        Raises:
            FullError: there is no place for one more request.
            RefusalError: 503, the model cannot run now.
        """
        if refuses := model.lane.refuses:
            self.tally.shed("not_ready")
            text = f"Model '{model.name}' cannot run now: {refuses}. Try again in a moment."
            raise RefusalError(503, "not_ready", text, headers=_RETRIES[0])
        ticket.enter(len(sources))
        limit = self.settings.deadline_ms
        # A slow upload is no wait of ours: the clock starts now.
        deadline = time.perf_counter() + limit / 1000 if limit else None

        def ended(call: Call) -> None:
            self._open.discard(call)
            done(call)

        call = Call(sources, ticket, encode, light, deadline, ended, model.lane)
        self._open.add(call)
        self._pipeline.submit(call, model.lane)
        return call

    async def wait(
        self,
        model: Model,
        sources: Sequence[bytes | UInt8],
        ticket: Ticket,
        encode: Encode,
        light: int = 0,
        request: Request | None = None,
    ) -> Call:
        """As `start`, and wait for the end.

        Args:
            request: when its client hangs up meanwhile, the stages drop the pictures; they do as well when this is
                cancelled.

        Raises:
            FullError: there is no place for one more request.
            RefusalError: 503, the model cannot run now.
        """
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(call: Call) -> None:
            if not ended.done():
                ended.set_result(None)

        call = self.start(model, sources, ticket, encode, light, done)
        watch = asyncio.ensure_future(_mark_when_gone(request, call)) if request else None
        try:
            await ended
        finally:
            if watch is not None:
                watch.cancel()
            call.gone = True  # a no-op for a call that is done; one cut off by a shutdown is not run any more
        return call

    def close(self, call: Call, model: Model, seconds: float) -> None:
        """Count a call that has ended."""
        self.tally.duration(seconds)
        fine = not any(job.error for job in call.jobs)
        self.tally.model(model.name, model.version).call(call, seconds, fine)

    def others(self, lanes: Container[int]) -> set[Call]:
        """The calls that are open now on any other lane than these, given by their id()."""
        return {call for call in self._open if id(call.lane) not in lanes}

    def open(self, calls: set[Call]) -> bool:
        """Whether one of these calls is open still."""
        return not self._open.isdisjoint(calls)

    def abandon_all(self) -> None:
        """End every call that is still open: the service stops."""
        for call in list(self._open):
            for job in call.jobs:
                self._pipeline.abandon(job, StoppedError())

    def shed(self, reason: str) -> RefusalError:
        """503 for a request that was refused or dropped to stay healthy; counted."""
        self.tally.shed(reason)
        return RefusalError(503, "overloaded", f"{_SHED[reason]} Try again in a moment.", headers=next(self._retries))

    def refusal(self, error: Exception, request_id: str, *, known: bool = False) -> RefusalError:
        """What a failed job is answered with.

        Args:
            known: whether the client declared a kind of picture that is certainly read: unknown bytes under such a
                name are a broken picture.

        Raises:
            ClientGoneError: nobody is left to be answered.
        """
        match error:
            case PictureError():
                kind = "broken" if error.kind == "unsupported" and known else error.kind
                return RefusalError(_STATUS[kind], f"picture_{kind}", _sentence(f"{error}"))
            case FullError():
                return self.shed(error.reason)
            case ExpiredError():
                return self.shed("deadline")
            case MemoryError():
                return self.shed("memory")
            case LostError():
                return self.shed("lost")
            case StoppedError():
                return RefusalError(503, "stopping", "The service stopped before it came to this request.")
            case GoneError():
                self.tally.shed("gone")
                raise ClientGoneError
            case _:
                _log.error("request %s failed: %s", request_id, error, extra={"request_id": request_id})
                text = "The model failed on this picture; the service's log says why, under this answer's X-Request-Id."
                return RefusalError(500, "model_failed", text)


async def _mark_when_gone(request: Request, call: Call) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    call.gone = True


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:500]
