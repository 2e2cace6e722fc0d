"""The protocol's refusals, and how untrusted values are quoted in them.

Messages end in JSON and in gRPC's headers, so a quoted value is short and plain ASCII whatever the client sent.
"""

from __future__ import annotations

from segx_serve.http import RefusalError

_LONGEST = 60


def quoted(value: object) -> str:
    """Any value out of JSON, short and harmless."""
    match value:
        case str():
            return ascii(value[:_LONGEST]) + ("..." if len(value) > _LONGEST else "")
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            text = repr(value)
            return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
        case list() | tuple():
            return f"a list of {len(value)}"
        case _:
            return "an object"


def shaped(shape: tuple[int, ...]) -> str:
    """A shape the way the protocol writes it: [1,24,32,3]."""
    return quoted_text("[" + ",".join(map(str, shape)) + "]")


def quoted_text(text: str) -> str:
    """A text cut to a length that fits a message."""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def bad(message: str) -> RefusalError:
    """400: the request contradicts the protocol or the model."""
    return RefusalError(400, "bad_request", message)


def too_large(message: str) -> RefusalError:
    """413."""
    return RefusalError(413, "too_large", message)
