"""Content codings: bodies that arrive compressed, and answers whose client takes them compressed.

Decompression stops at a limit, so a small body cannot become a large one. It knows nothing of what is inside.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from segx_serve.http import RefusalError
from segx_serve.oip.refusals import bad, quoted, too_large

GZIP = 31
DEFLATE = 15
_WINDOWS = {"gzip": GZIP, "x-gzip": GZIP, "deflate": DEFLATE}
_STEP = 2**20


def decoded(body: bytes, coding: str, limit: int) -> bytes:
    """A body without its Content-Encoding.

    Args:
        coding: the header's value; empty for none. `deflate` is zlib's format, as HTTP defines it.
        limit: most bytes allowed after decompression; never more than this and a step is held.

    Raises:
        RefusalError: 400 for damaged data, 413 past the limit, 415 for a coding that is not known.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _WINDOWS:
        text = f"Content-Encoding {quoted(coding)} is not taken; gzip and deflate are."
        raise RefusalError(415, "unsupported_encoding", text)
    unpacker = zlib.decompressobj(wbits=_WINDOWS[name])
    parts: list[bytes] = []
    size = 0
    rest = body
    try:
        while not unpacker.eof:
            part = unpacker.decompress(rest, min(_STEP, limit + 1 - size))
            rest = unpacker.unconsumed_tail
            size += len(part)
            if size > limit:
                raise too_large(f"The body is larger than {limit} bytes after decompression.")
            parts.append(part)
            if not part and not rest:
                break
    except zlib.error:
        raise bad(f"The body is no {name} data, though its Content-Encoding says so.") from None
    if not unpacker.eof or unpacker.unused_data:
        raise bad(f"The body's {name} data {'goes on past its end' if unpacker.eof else 'is cut off'}.")
    return b"".join(parts)


def accepted(header: str) -> str:
    """The coding to answer with: "gzip", "deflate", or "" for none.

    Args:
        header: Accept-Encoding. Of codings with the same weight gzip is taken; a wildcard asks for nothing.
    """
    if not header:
        return ""
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = _weight(parameter.strip())
    best = max(("gzip", "deflate"), key=lambda name: weights.get(name, 0.0))
    return best if weights.get(best, 0.0) > 0 else ""


def encoded(parts: Sequence[bytes | memoryview], coding: str) -> bytes:
    """Parts one after another, compressed."""
    # Class maps are long runs of one value: matching runs alone is fastest and loses little.
    packer = zlib.compressobj(1, wbits=_WINDOWS[coding], strategy=zlib.Z_RLE)
    return b"".join([*map(packer.compress, parts), packer.flush()])


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
