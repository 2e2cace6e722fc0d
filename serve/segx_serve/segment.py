"""POST /segment: from a request to a call, and from a finished call to a reply."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from segx_core.errors import near
from segx_serve import answers, multipart
from segx_serve.admission import FullError, Ticket
from segx_serve.body import ClientGoneError, read_body
from segx_serve.catalog import Catalog
from segx_serve.desk import Desk
from segx_serve.http import RefusalError, Reply, Request
from segx_serve.job import Call, Encode, Timing
from segx_serve.models import Model

# Media types whose bytes the decoder certainly knows: unknown bytes under such a name are a broken picture.
_KNOWN = frozenset({"image/jpeg", "image/jpg", "image/png", "image/webp", "image/bmp", "image/gif", "image/tiff"})
_UNDECLARED = frozenset({"", "application/octet-stream"})
_FORM = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request asks for, judged by its headers alone."""

    model: Model
    form: answers.Form
    encode: Encode
    media_type: str
    """Declared, lower case; may be empty."""
    started: float
    """time.perf_counter() when the headers were there."""


class Segment:
    """The route, with everything it needs handed in."""

    route = "/segment"

    def __init__(self, catalog: Catalog, desk: Desk) -> None:
        self._catalog = catalog
        self._desk = desk
        self._forms: dict[str, answers.Form] = {}  # Accept header -> what it asks for; bounded, see _form

    def plan(self, request: Request) -> Plan:
        """What is asked for.

        Raises:
            RefusalError: nothing that this route does.
        """
        started = time.perf_counter()
        model = self._model(request)
        form = self._form(request.header(b"accept"))
        media_type = _media_type(request)
        gzip = b"gzip" in request.headers.get(b"accept-encoding", b"").lower()
        return Plan(model, form, form.build(model, gzip), media_type, started)

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
                picture, media_type = _picture(body, plan.media_type, request)
                call = await self._desk.run(request, plan.model, [picture], ticket, plan.encode, plan.form.light)
        except FullError as full:
            raise self._desk.shed(full.reason) from None
        return self._reply(request, plan, call, media_type)

    def hot(self, request: Request) -> Plan | None:
        """The plan of a request whose body is the picture itself; None where it must go the long way."""
        plan = self.plan(request)
        return None if plan.media_type == _FORM else plan

    def start(
        self, request: Request, plan: Plan, body: bytes, ticket: Ticket, answer: Callable[[Reply | None], None]
    ) -> Call:
        """As `__call__`, for a body that is there already; `answer` gets the reply, None where nobody is left.

        Raises:
            RefusalError: an empty body, or too much to do.
        """

        def done(call: Call) -> None:
            try:
                reply: Reply | None = self._reply(request, plan, call, plan.media_type)
            except RefusalError as refusal:
                reply = refusal.reply()
            except ClientGoneError:
                reply = None
            answer(reply)

        if not body:
            raise _empty()
        try:
            return self._desk.start(plan.model, [body], ticket, plan.encode, plan.form.light, done)
        except FullError as full:
            raise self._desk.shed(full.reason) from None

    def _reply(self, request: Request, plan: Plan, call: Call, media_type: str) -> Reply:
        self._desk.close(call, plan.model, time.perf_counter() - plan.started)
        (job,) = call.jobs
        if job.error is not None:
            raise self._desk.refusal(job.error, request.id, known=media_type in _KNOWN)
        assert job.payload is not None
        payload = job.payload
        return Reply(
            200, payload.body, payload.media_type, (*payload.headers, (b"server-timing", server_timing(job.timing)))
        )

    def _model(self, request: Request) -> Model:
        if not request.scope["query_string"]:
            return self._catalog.only()
        wanted = version = ""
        for name, value in request.query:
            match name:
                case "model":
                    wanted = value
                case "version":
                    version = value
                case _:
                    text = f"Unknown parameter '{name[:100]}'. {near(name, ['model', 'version'])}"
                    raise RefusalError(400, "unknown_parameter", text)
        return self._catalog.find(wanted or self._catalog.only().name, version)

    def _form(self, accept: str) -> answers.Form:
        form = self._forms.get(accept)
        if form is None:
            form = answers.choose(accept)
            if len(self._forms) < 64:
                self._forms[accept] = form
        return form


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


def _picture(body: bytes, media_type: str, request: Request) -> tuple[bytes, str]:
    """The bytes of the picture and their declared type."""
    if media_type == _FORM:
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
        raise _empty()
    return body, media_type


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
