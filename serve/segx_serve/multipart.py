"""The parts of a multipart/form-data body that is already in memory. Knows nothing of which fields are wanted."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from segx_serve.http import RefusalError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST_PARTS = 32
# The parser warns of every broken form. Its client is told; no client decides how much stands in the log.
_UNHEARD = logging.Logger("forms", logging.CRITICAL)


@dataclass(slots=True)
class Part:
    """One field of the form."""

    name: str = ""
    media_type: str = ""
    """As the client declared it, lower case; may be empty."""
    data: bytes = b""
    file_name: str = ""
    """As the client named it; may be empty or hostile."""
    headers: dict[bytes, bytes] = field(default_factory=dict)


def parse(body: bytes, content_type: str) -> list[Part]:
    """All parts in their order.

    Raises:
        RefusalError: 400, the body is no complete multipart form.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise _broken("Content-Type names no boundary")
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.logger = _UNHEARD
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise _broken(str(error)) from None
    if not reader.complete:
        raise _broken("the closing boundary is missing")
    return reader.parts


class _Reader:
    """Collects what the parser calls out."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._name = b""
        self._value = b""
        self._chunks: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_name,
            "on_header_value": self._on_value,
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.parts) == _MOST_PARTS:
            raise _broken(f"more than {_MOST_PARTS} fields")
        self.parts.append(Part())
        self._chunks = []

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        self.parts[-1].headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers(self) -> None:
        part = self.parts[-1]
        options = parse_options_header(part.headers.get(b"content-disposition", b""))[1]
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        part.file_name = options.get(b"filename", b"").decode("utf-8", "replace")
        part.media_type = part.headers.get(b"content-type", b"").decode("latin-1").split(";")[0].strip().lower()

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._chunks.append(data[start:end])

    def _end(self) -> None:
        self.parts[-1].data = b"".join(self._chunks)

    def _finish(self) -> None:
        self.complete = True


def _broken(why: str) -> RefusalError:
    return RefusalError(400, "broken_form", f"The body is no complete multipart/form-data form: {why}.")
