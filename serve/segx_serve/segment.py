"""POST /segment: from a request to a call, and from a finished call to a reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from segx_core.errors import near
from segx_serve import answers, multipart
from segx_serve.admission import FullError, Ticket
from segx_serve.body import ClientGoneError, read_body
from segx_serve.catalog import Catalog
from segx_serve.desk import Desk
from segx_serve.http import RefusalError, Reply, Request, Seen
from segx_serve.job import Call, Encode, Timing
from segx_serve.models import Model
from segx_serve.several import Part as Done
from segx_serve.several import choose_several

# Media types whose bytes the decoder certainly knows: unknown bytes under such a name are a broken picture.
_KNOWN = frozenset({"image/jpeg", "image/jpg", "image/png", "image/webp", "image/bmp", "image/gif", "image/tiff"})
_UNDECLARED = frozenset({"", "application/octet-stream"})
_FORM = "multipart/form-data"
# Headers that were understood once and are remembered.
_REMEMBERED = 64
_PARAMETERS = ("model", "version")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request asks for, judged by its headers alone."""

    model: Model
    media_type: str
    """Declared, lower case; may be empty."""
    form: answers.Form | None
    """None for a form of fields: it may turn out to hold several pictures, whose answers have other forms."""
    encode: Encode | None
    """Writes the answer in that form."""
    gzip: bool
    """Whether the client takes gzip."""
    serial: int
    """The catalogue's when it was made."""


class Segment:
    """The route, with everything it needs handed in."""

    route = "/segment"

    def __init__(self, catalog: Catalog, desk: Desk) -> None:
        self._catalog = catalog
        self._desk = desk
        # What requests with these headers ask for, while the catalogue stays as it is.
        self._plans: dict[tuple[bytes | None, ...], Plan] = {}
        self._serial = -1

    def plan(self, request: Request) -> Plan:
        """What is asked for.

        Raises:
            RefusalError: nothing that this route does.
        """
        model = self._model(request)
        media_type = _media_type(request)
        gzip = b"gzip" in request.headers.get(b"accept-encoding", b"").lower()
        form = None if media_type == _FORM else answers.choose(request.header(b"accept"))
        return Plan(
            model, media_type, form, None if form is None else form.build(model, gzip), gzip, self._catalog.serial
        )

    async def __call__(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            RefusalError: everything that is the client's fault, and 503 when there is too much to do.
            ClientGoneError: the client hung up.
        """
        plan = self.plan(request)
        settings = self._desk.settings
        try:
            with self._desk.admission.ticket() as ticket:
                if self._desk.admission.full:
                    raise FullError("requests")
                body = await read_body(request, ticket, settings.max_body, settings.read_timeout)
                # Looked up again: while a slow body arrived, another version may have taken the model's place.
                model = self._model(request)
                if plan.form is not None:
                    return await self._one(request, model, plan.form, plan.gzip, body, plan.media_type, ticket)
                parts = _parts(body, request)
                if len(parts) > 1:
                    return await self._several(request, model, parts, ticket)
                form = answers.choose(request.header(b"accept"))
                (part,) = parts
                return await self._one(request, model, form, plan.gzip, part.data, part.media_type, ticket)
        except FullError as full:
            raise self._desk.shed(full.reason) from None

    def hot(self, request: Request) -> Plan | None:
        """The plan of a request whose body is the picture itself; None where it must go the long way.

        Raises:
            RefusalError: nothing that this route does.
        """
        get = request.headers.get
        key = (
            request.scope["query_string"],
            get(b"accept"), get(b"content-type"), get(b"accept-encoding"), get(b"content-encoding"),
        )  # fmt: skip
        if self._serial != self._catalog.serial or len(self._plans) >= _REMEMBERED:
            self._plans.clear()
            self._serial = self._catalog.serial
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self.plan(request)
        return None if plan.form is None else plan

    def start(
        self, request: Request, plan: Plan, body: bytes, ticket: Ticket, answer: Callable[[Reply | None], None]
    ) -> Call:
        """As `__call__`, for a body that is there already; `answer` gets the reply, None where nobody is left.

        Raises:
            RefusalError: an empty body, too much to do, or the model went while the body arrived.
        """
        if plan.serial != self._catalog.serial:
            # While a slow body arrived, another version may have taken the model's place.
            plan = self.plan(request)
        model, form, encode = plan.model, plan.form, plan.encode
        assert form is not None
        assert encode is not None

        def done(call: Call) -> None:
            try:
                reply: Reply | None = self._reply(request, model, call, plan.media_type)
            except RefusalError as refusal:
                reply = refusal.reply()
            except ClientGoneError:
                reply = None
            answer(reply)

        if not body:
            raise _empty()
        try:
            return self._desk.start(model, [body], ticket, encode, form.light, done)
        except FullError as full:
            raise self._desk.shed(full.reason) from None

    async def _one(
        self,
        request: Request,
        model: Model,
        form: answers.Form,
        gzip: bool,
        picture: bytes,
        media_type: str,
        ticket: Ticket,
    ) -> Reply:
        if not picture:
            raise _empty()
        call = await self._desk.wait(model, [picture], ticket, form.build(model, gzip), form.light, request)
        return self._reply(request, model, call, media_type)

    def _reply(self, request: Request, model: Model, call: Call, media_type: str) -> Reply:
        self._desk.close(call, model, time.perf_counter() - request.started)
        (job,) = call.jobs
        if job.error is not None:
            raise self._desk.refusal(job.error, request.id, known=media_type in _KNOWN)
        assert job.payload is not None
        payload, timing = job.payload, job.timing
        headers = (*payload.headers, (b"server-timing", server_timing(timing)))
        return Reply(200, payload.body, payload.media_type, headers, Seen(model.name, timing, job.batch))

    async def _several(self, request: Request, model: Model, parts: list[multipart.Part], ticket: Ticket) -> Reply:
        """Each picture goes its own way and fails alone."""
        several = choose_several(request.header(b"accept"))
        most = self._desk.settings.max_queue
        if len(parts) > most:
            raise RefusalError(413, "too_many", f"{len(parts)} pictures in one request; at most {most} are taken.")
        encode = several.one.build(model, gzip=False)
        call = await self._desk.wait(model, [part.data for part in parts], ticket, encode, request=request)
        self._desk.close(call, model, time.perf_counter() - request.started)
        done = []
        for part, job in zip(parts, call.jobs, strict=True):
            if job.payload is not None:
                done.append(Done(part.file_name, job.payload.body))
                continue
            assert job.error is not None
            refusal = self._desk.refusal(job.error, request.id, known=part.media_type in _KNOWN)
            if refusal.status == 503 and all(one.error is not None for one in call.jobs):
                raise refusal
            done.append(Done(part.file_name, error=(refusal.code, refusal.message)))
        payload = await asyncio.to_thread(several.join, done)
        return Reply(200, payload.body, payload.media_type, payload.headers)

    def _model(self, request: Request) -> Model:
        if not request.scope["query_string"]:
            return self._catalog.only()
        given: dict[str, str] = {}
        for name, value in request.query:
            if name not in _PARAMETERS:
                text = f"Unknown parameter '{name[:100]}'. {near(name, _PARAMETERS)}"
                raise RefusalError(400, "unknown_parameter", text)
            if name in given or not value:
                text = f"Parameter '{name}' must stand once and name one {name}; leave it out to leave it open."
                raise RefusalError(400, "bad_parameter", text)
            given[name] = value
        model = given.get("model") or self._catalog.only().name
        return self._catalog.find(model, given.get("version", ""))


def _media_type(request: Request) -> str:
    """The declared type of the body, checked before a byte of it is read."""
    declared = request.header(b"content-type").split(";")[0].strip().lower()
    fine = declared in _UNDECLARED or declared == _FORM or declared.startswith("image/")
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


def _parts(body: bytes, request: Request) -> list[multipart.Part]:
    """The fields of a form: one picture or several.

    Raises:
        RefusalError: a broken form, one without a picture, or with other fields.
    """
    parts = multipart.parse(body, request.header(b"content-type"))
    for part in parts:
        if part.name != "image":
            text = f"Unknown field '{part.name[:100]}'. {near(part.name, ['image'])}"
            raise RefusalError(422, "unknown_field", text)
    if not parts:
        raise RefusalError(422, "missing_field", "The form has no field 'image' with the picture.")
    return parts


def _empty() -> RefusalError:
    return RefusalError(400, "empty", "The picture is empty: 0 bytes arrived.")


def server_timing(timing: Timing) -> bytes:
    """The Server-Timing header: milliseconds in each stage."""
    return b"queue;dur=%.2f, decode;dur=%.2f, run;dur=%.2f, encode;dur=%.2f" % (
        timing.queue * 1e3,
        timing.decode * 1e3,
        timing.run * 1e3,
        timing.encode * 1e3,
    )
