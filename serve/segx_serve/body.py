"""Reading a request's body without ever holding more than allowed or waiting for ever, and leaving one unread politely.

It knows nothing of what the body means.
"""

from __future__ import annotations

import asyncio
import time

from segx_serve.admission import Ticket
from segx_serve.http import RefusalError, Request

SLOWEST = 4096
"""Bytes per second. A client slower than this for a whole body is no client but an attack."""
# After refusing an upload: how long, in seconds, to swallow the rest so that the client gets to read the answer.
LINGER = 2.0
# Most clients send headers and body separately: a small body is a moment behind. Seconds and bytes.
_MOMENT = 0.1
_SMALL = 2**20


class ClientGoneError(Exception):
    """The client hung up before its request was complete; there is nobody to answer."""


async def read_body(request: Request, ticket: Ticket, limit: int, timeout: float) -> bytes:
    """The whole body.

    Args:
        ticket: grows with every byte that arrives.
        limit: most bytes allowed.
        timeout: longest silence in seconds; a body that trickles is given up too.

    Raises:
        RefusalError: 413 as soon as the limit is known to be passed, 408 when the client is too slow.
        FullError: the service holds too many bytes already.
        ClientGoneError: the client hung up.
    """
    announced = request.header(b"content-length")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    give_up = time.monotonic() + timeout
    while True:
        wait = min(timeout, give_up + size / SLOWEST - time.monotonic())
        try:
            async with asyncio.timeout(wait):
                message = await request.receive()
        except TimeoutError:
            text = f"The request's body did not arrive: {size} bytes came, then too little for {timeout:g} s."
            raise RefusalError(408, "timeout", text) from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        ticket.grow(len(chunk))
        parts.append(chunk)
        if not message.get("more_body", False):
            request.complete = True
            return parts[0] if len(parts) == 1 else b"".join(parts)


def patience(request: Request) -> float:
    """Seconds worth waiting for the rest of a refused upload so that its connection can be used again."""
    announced = request.header(b"content-length")
    return _MOMENT if announced.isdecimal() and int(announced) <= _SMALL else 0.0


async def swallow(request: Request, seconds: float) -> None:
    """Drop the rest of an upload as far as it arrives within `seconds`; 0 drops what is already here.

    Closing a socket with unread bytes resets the connection, and the client then loses the answer it was sent.
    """
    try:
        async with asyncio.timeout(seconds):
            while request.unread:
                message = await request.receive()
                request.complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
    except TimeoutError:
        return


def _too_large(limit: int) -> RefusalError:
    return RefusalError(413, "too_large", f"The request's body is larger than the {limit} bytes allowed (--max-body).")
