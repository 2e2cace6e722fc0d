"""The files of the web page, read once from the package, and the headers that keep a browser safe with them.

It knows nothing of what the page does; only which of a browser's powers it needs.
"""

from __future__ import annotations

from importlib.resources import files

from segx_serve.http import Headers, Reply

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
# Everything from this service itself; pictures and videos also from the browser's own memory: a dropped file, a canvas.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The camera for this page alone, and nothing else that a page could ask for.
_PERMISSIONS = "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=(), payment=()"


def security_headers(*, shared: bool = False) -> Headers:
    """Sent with every answer; the content policy matters for pages and does no harm elsewhere.

    Args:
        shared: whether the answer is for a page of another origin that was allowed to use the service (cors.py).
    """
    return (
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", _POLICY.encode()),
        (b"permissions-policy", _PERMISSIONS.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"cross-origin" if shared else b"same-origin"),
    )


def page_files() -> dict[str, Reply]:
    """Path -> answer, for the page itself and every script and style beside it."""
    beside = [entry for entry in (files("segx_serve") / "page").iterdir() if _suffix(entry.name) in _TYPES]
    found = {entry.name: entry.read_text(encoding="utf-8") for entry in beside}
    page = {"/": html(found.pop("index.html"), "index.html")}
    return page | {f"/page/{name}": html(text, name) for name, text in sorted(found.items())}


def html(text: str, name: str = "page.html") -> Reply:
    """A page, script or style as an answer, never taken from a stale cache."""
    return Reply(200, text.encode(), _TYPES[_suffix(name)], ((b"cache-control", b"no-cache"),))


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
