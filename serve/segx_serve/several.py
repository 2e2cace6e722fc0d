"""Answers about several pictures of one request: each written on its own by a form of answers.py, then joined here.

    application/json        {"pictures": [...]} in the order sent; takes the options of one picture's JSON
    application/zip         one PNG a picture; with overlay=1 the blended pictures

A picture that failed stands in the answer as an error and spoils none of the others.
"""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from segx_core.picture import PICTURE_SUFFIXES
from segx_serve.answers import Form, Options, best, forms
from segx_serve.describe import as_bytes
from segx_serve.job import Payload

ERRORS = "errors.json"
"""Where an archive says which pictures failed, and why."""

_LONGEST = 200  # bytes; file systems take 255 with the ending
# What some file system does not take, control and format characters (which also turn text around) among them.
_UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_MADE = (1980, 1, 1, 0, 0, 0)  # the same pictures always give the same bytes


@dataclass(frozen=True)
class Part:
    """What became of one picture."""

    name: str
    """As the client named it; may be empty, repeated, or hostile."""
    body: bytes = b""
    """As the form's `one` wrote it."""
    error: tuple[str, str] | None = None
    """(code, message) instead of a body."""


@dataclass(frozen=True)
class Several:
    """One form of an answer about several pictures."""

    media_type: str
    one: Form
    """How each picture is written; gzip is not for it."""
    join: Callable[[Sequence[Part]], Payload]
    """All pictures, in the order sent -> the answer; any thread."""
    parameters: Options = ()


def forms_of_several() -> tuple[Several, ...]:
    """All forms, the preferred one first."""
    single = forms()
    json = [Several(form.media_type, form, _json, form.parameters) for form in single if "json" in form.media_type]
    png = [Several("application/zip", form, _zip, form.parameters) for form in single if form.media_type == "image/png"]
    return (*json, *png)


def choose_several(accept: str) -> Several:
    """The form for several pictures that an Accept header likes best.

    Raises:
        RefusalError: 406, it takes none of them.
    """
    return best(accept, forms_of_several())


def file_names(names: Iterable[str]) -> list[str]:
    """A file name stem for each name: without folders, safe to write on any system, and unique whatever the case.

    The endings of picture files are taken off; a name that leaves nothing becomes `picture`, and one that is there
    already gets a number.
    """
    taken: set[str] = set()
    stems = []
    for name in names:
        stem = _stem(name)
        unique, number = stem, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{stem}-{number}"
        taken.add(unique.casefold())
        stems.append(unique)
    return stems


def _stem(name: str) -> str:
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    last = _UNSAFE.sub("_", last)
    before, dot, suffix = last.rpartition(".")
    if dot and f".{suffix.lower()}" in PICTURE_SUFFIXES:
        last = before
    # Leading dots hide a file or climb, trailing dots and spaces vanish on Windows.
    last = last.encode()[:_LONGEST].decode(errors="ignore").strip(". ")
    if _DEVICES.fullmatch(last):
        last = f"_{last}"
    return last or "picture"


def _json(parts: Sequence[Part]) -> Payload:
    pictures = []
    for part in parts:
        name = part.name.encode("utf-8", "replace").decode()
        if part.error is not None:
            pictures.append(as_bytes({"name": name, "error": _error(part.error)}))
        else:
            # The body is an object that never is empty: its name goes in front, and nothing is parsed again.
            pictures.append(b'{"name":' + as_bytes(name) + b"," + part.body[1:])
    return Payload(b'{"pictures":[' + b",".join(pictures) + b"]}", "application/json")


def _zip(parts: Sequence[Part]) -> Payload:
    out = io.BytesIO()
    failed = []
    # Stored, for PNGs do not shrink any further.
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for number, (part, stem) in enumerate(zip(parts, file_names(part.name for part in parts), strict=True)):
            if part.error is None:
                archive.writestr(zipfile.ZipInfo(f"{stem}.png", _MADE), part.body)
            else:
                name = part.name.encode("utf-8", "replace").decode()
                failed.append({"index": number, "name": name, "error": _error(part.error)})
        if failed:
            archive.writestr(zipfile.ZipInfo(ERRORS, _MADE), as_bytes({"errors": failed}))
    return Payload(
        out.getvalue(), "application/zip", ((b"content-disposition", b'attachment; filename="segmentation.zip"'),)
    )


def _error(error: tuple[str, str]) -> dict[str, str]:
    return {"code": error[0], "message": error[1]}
