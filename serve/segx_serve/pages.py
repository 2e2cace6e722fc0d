"""The files of the web page, read once from the package, and the headers that keep a browser safe with them."""

from __future__ import annotations

from importlib.resources import files

from segx_serve.http import Headers, Reply

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
# Everything from this service itself; pictures also from the browser's own memory (a dropped file, a canvas).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def security_headers(*, shared: bool = False) -> Headers:
    """Sent with every answer; the content policy matters for pages and does no harm elsewhere.

    Args:
        shared: whether the answer is for a page of another origin that was allowed to use the service (cors.py).
    """
    return (
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", _POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"cross-origin" if shared else b"same-origin"),
    )


def page_files() -> dict[str, Reply]:
    """Path -> answer, for the page and its script and style."""
    names = {"/": "index.html", "/page/app.js": "app.js", "/page/view.js": "view.js", "/page/style.css": "style.css"}
    return {path: html(_read(name), name) for path, name in names.items()}


def html(text: str, name: str = "page.html") -> Reply:
    """A page, script or style as an answer, never taken from a stale cache."""
    media_type = _TYPES[name[name.rindex(".") :]]
    return Reply(200, text.encode(), media_type, ((b"cache-control", b"no-cache"),))


def _read(name: str) -> str:
    return (files("segx_serve") / "page" / name).read_text(encoding="utf-8")
