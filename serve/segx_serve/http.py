"""The little of HTTP that the routes share: a request as they see it, a reply, and a refusal. Thin on top of ASGI.

No framework stands between the server and the picture route, because its cost would be the largest of a small
model's; it knows nothing of pictures or models.
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from segx_serve.job import Timing

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class Seen:
    """What logs and traces tell of an answer that a model had a part in."""

    model: str
    timing: Timing
    batch: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    media_type: str
    headers: Headers = ()
    seen: Seen | None = None


class RefusalError(Exception):
    """Raised anywhere in a route: answered as `{"error": {"code", "message"}}`.

    Args:
        status: HTTP status.
        code: short word for programs.
        message: a sentence for people; never a path or a traceback.
    """

    def __init__(self, status: int, code: str, message: str, *, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    def reply(self, *, plain: bool = False) -> Reply:
        """As an answer; `plain` in the Open Inference Protocol's form, where the error is a text."""
        error: object = self.message if plain else {"code": self.code, "message": self.message}
        return as_json({"error": error}, self.status, self.headers)


def request_ids() -> Callable[[], str]:
    """A source of request ids: a number behind a random word, as unique as a random number each and much cheaper."""
    word, numbers = secrets.token_hex(4), itertools.count()
    return lambda: f"{word}{next(numbers):08x}"


class Request:
    """What a route sees of a request: all but the body, which body.py reads."""

    def __init__(self, scope: Scope, receive: Receive, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._id: str | None = None
        self.scope = scope
        self.headers = _joined(scope["headers"])
        """Lower-case names; of a repeated header the parts joined with commas, as HTTP has it."""
        self.receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.started = time.perf_counter()
        """When its headers were there."""
        self.key: str | None = None
        """The name of the API key it came with, once that was checked."""
        self.complete = False
        """Whether the whole body has been received."""

    @property
    def unread(self) -> bool:
        """Whether body bytes may still be under way."""
        announced = self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers
        return announced and not self.complete

    def header(self, name: bytes) -> str:
        """A header's value, or an empty text."""
        return self.headers.get(name, b"").decode("latin-1").strip()

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The query's names and values, decoded, in order."""
        text = self.scope["query_string"].decode("latin-1")
        return parse_qsl(text, keep_blank_values=True, errors="replace") if text else []

    @property
    def id(self) -> str:
        """X-Request-Id as sent if it is harmless, else a new one."""
        # Not a cached_property: on Python 3.11 those take a lock, which at this rate shows.
        if self._id is None:
            sent = self.headers.get(b"x-request-id")
            fine = sent is not None and _SAFE_ID.fullmatch(sent.decode("latin-1"))
            self._id = fine[0] if fine else self._new_id()
        return self._id


def _joined(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        found[name] = found[name] + b", " + value if name in found else value
    return found


def as_json(value: object, status: int = 200, headers: Headers = ()) -> Reply:
    """A JSON reply."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Reply(status, text.encode(), "application/json", headers)
