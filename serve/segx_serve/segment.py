"""POST /segment: from a request to a job, and from a finished job to a reply."""

from __future__ import annotations

import asyncio
import logging
import time

from segx_core.errors import PictureError, near
from segx_serve import answers, multipart
from segx_serve.admission import Admission, FullError
from segx_serve.body import ClientGoneError, read_body
from segx_serve.http import Headers, RefusalError, Reply, Request
from segx_serve.job import ExpiredError, GoneError, Job, Timing
from segx_serve.metrics import Metrics
from segx_serve.models import Model
from segx_serve.pipeline import Pipeline
from segx_serve.settings import Settings

_log = logging.getLogger("segx.serve")
# Media types whose bytes the decoder certainly knows: unknown bytes under such a name are a broken picture.
_KNOWN = frozenset({"image/jpeg", "image/jpg", "image/png", "image/webp", "image/bmp", "image/gif", "image/tiff"})
_UNDECLARED = frozenset({"", "application/octet-stream"})
_STATUS = {"broken": 400, "too_large": 413, "unsupported": 415}


class Segment:
    """The route, with everything it needs handed in."""

    def __init__(
        self,
        models: dict[str, Model],
        settings: Settings,
        admission: Admission,
        pipeline: Pipeline,
        metrics: Metrics,
    ) -> None:
        self._models = models
        self._settings = settings
        self._admission = admission
        self._pipeline = pipeline
        self._metrics = metrics

    async def __call__(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            RefusalError: everything that is the client's fault, and 503 when there is too much to do.
            ClientGoneError: the client hung up.
        """
        started = time.perf_counter()
        model = self._model(request)
        form = answers.choose(request.header(b"accept"))
        media_type = _media_type(request)
        gzip = "gzip" in request.header(b"accept-encoding").lower()
        limit_ms = self._settings.deadline_ms
        try:
            with self._admission.ticket() as ticket:
                if self._admission.full:
                    raise FullError("requests")
                body = await read_body(request, ticket, self._settings.max_body, self._settings.read_timeout)
                picture, media_type = _picture(body, media_type, request)
                ticket.enter()
                job = Job(
                    body=picture,
                    ticket=ticket,
                    encode=form.build(model, gzip),
                    done=asyncio.get_running_loop().create_future(),
                    # A slow upload is no wait of ours: the clock starts now.
                    deadline=time.perf_counter() + limit_ms / 1000 if limit_ms else None,
                )
                await self._through(job, model, request)
        except FullError as full:
            raise self._shed(full.reason) from None
        self._metrics.duration(time.perf_counter() - started)
        if job.error is not None:
            raise self._refusal(job.error, media_type, request)
        assert job.payload is not None
        headers: Headers = (*job.payload.headers, (b"server-timing", _server_timing(job.timing)))
        return Reply(200, job.payload.body, job.payload.media_type, headers)

    async def _through(self, job: Job, model: Model, request: Request) -> None:
        """Send a job through the pipeline; when the client hangs up meanwhile, the stages drop it."""
        watch = asyncio.ensure_future(_mark_when_gone(request, job))
        try:
            self._pipeline.submit(job, model.batcher.put)
            await job.done
        finally:
            watch.cancel()
            job.gone = True  # a no-op for a job that is done; one that is cut off by a shutdown is not run any more

    def _model(self, request: Request) -> Model:
        wanted = ""
        for name, value in request.query:
            if name != "model":
                text = f"Unknown parameter '{name}'. The only one is 'model'."
                raise RefusalError(400, "unknown_parameter", text)
            wanted = value
        if not wanted:
            if len(self._models) > 1:
                text = (
                    f"Several models are served: say which with ?model=NAME. Known: {', '.join(sorted(self._models))}."
                )
                raise RefusalError(400, "model_required", text)
            return next(iter(self._models.values()))
        return find(self._models, wanted)

    def _shed(self, reason: str) -> RefusalError:
        self._metrics.shed(reason)
        text = {
            "requests": "The service is working on as many requests as it may take.",
            "bytes": "The service holds as many bytes of pictures as it may.",
            "deadline": "The request waited longer than its deadline.",
            "memory": "The service ran out of memory on this picture.",
        }[reason]
        retry: Headers = ((b"retry-after", b"1"),)
        return RefusalError(503, "overloaded", f"{text} Try again in a moment.", headers=retry)

    def _refusal(self, error: Exception, media_type: str, request: Request) -> Exception:
        """What a failed job is answered with."""
        match error:
            case PictureError():
                kind = "broken" if error.kind == "unsupported" and media_type in _KNOWN else error.kind
                return RefusalError(_STATUS[kind], f"picture_{kind}", _sentence(f"{error}"))
            case FullError():
                return self._shed(error.reason)
            case ExpiredError():
                return self._shed("deadline")
            case MemoryError():
                return self._shed("memory")
            case GoneError():
                self._metrics.shed("gone")
                return ClientGoneError()
            case _:
                _log.error("request %s failed: %s", request.id, error)
                text = "The model failed on this picture; the service's log says why, under this answer's X-Request-Id."
                return RefusalError(500, "model_failed", text)


async def _mark_when_gone(request: Request, job: Job) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.gone = True


def find(models: dict[str, Model], name: str) -> Model:
    """The model called `name`.

    Raises:
        RefusalError: 404, with the near name.
    """
    if name not in models:
        raise RefusalError(404, "unknown_model", f"There is no model '{name[:100]}'. {near(name, models)}")
    return models[name]


def _media_type(request: Request) -> str:
    """The declared type of the body, checked before a byte of it is read."""
    declared = request.header(b"content-type").split(";")[0].strip().lower()
    fine = declared in _UNDECLARED or declared == "multipart/form-data" or declared.startswith("image/")
    if not fine:
        text = (
            "Send the picture as the body with 'Content-Type: image/jpeg' (or another image type), or as the "
            f"multipart field 'image'; got '{declared[:100]}'."
        )
        raise RefusalError(415, "unsupported_media_type", text)
    coding = request.header(b"content-encoding").lower()
    if coding not in ("", "identity"):
        raise RefusalError(415, "unsupported_encoding", f"Content-Encoding '{coding[:50]}' is not taken.")
    return declared


def _picture(body: bytes, media_type: str, request: Request) -> tuple[bytes, str]:
    """The bytes of the picture and their declared type."""
    if media_type == "multipart/form-data":
        parts = multipart.parse(body, request.header(b"content-type"))
        for part in parts:
            if part.name != "image":
                raise RefusalError(
                    422, "unknown_field", f"Unknown field '{part.name[:100]}'. {near(part.name, ['image'])}"
                )
        if not parts:
            raise RefusalError(422, "missing_field", "The form has no field 'image' with the picture.")
        if len(parts) > 1:
            raise RefusalError(
                422, "repeated_field", f"The form has {len(parts)} fields 'image'; send one picture a request."
            )
        body, media_type = parts[0].data, parts[0].media_type
    if not body:
        raise RefusalError(400, "empty", "The picture is empty: 0 bytes arrived.")
    return body, media_type


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:500]


def _server_timing(timing: Timing) -> bytes:
    stages = (("queue", timing.queue), ("decode", timing.decode), ("run", timing.run), ("encode", timing.encode))
    return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in stages).encode()
