"""The forms an answer can take, and which of them a client's Accept header asks for. Several pictures: several.py.

image/png                       palette PNG of class indices, the usual one; of a multilabel model, of bit fields
image/png;overlay=1             the picture blended with its classes' colours
application/json                size, and of each class area, box and COCO run lengths
application/json;polygons=1     the same and outlines; with rle=0 without run lengths
application/octet-stream        the bare map
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from segx_core.picture import encode_png
from segx_core.runner import ClassMap, UInt8
from segx_serve.describe import as_bytes, describe
from segx_serve.http import RefusalError
from segx_serve.job import Encode, Job, Payload
from segx_serve.legend import Legend
from segx_serve.models import Model

Options = tuple[tuple[str, str], ...]
Write = Callable[[Legend, ClassMap, UInt8 | None, bool], Payload]
"""(legend, (H, W) class map, (H, W, 3) picture or None, whether the client takes gzip) -> the answer; any thread."""

# Options of media types that mean something here, and their usual values. Others, such as charset, are passed over.
_USUAL = {"overlay": "0", "polygons": "0", "rle": "1"}


@dataclass(frozen=True)
class Form:
    """One form of answer: the media type that asks for it, and its options where they are not the usual ones."""

    media_type: str
    write: Write
    parameters: Options = ()
    light: int = 0
    """Pixels up to which writing it is so little work that the event loop does it itself."""

    @property
    def needs_picture(self) -> bool:
        """Whether `write` wants the picture beside its class map."""
        return ("overlay", "1") in self.parameters

    def build(self, model: Model, gzip: bool) -> Encode:
        """What a codec thread does with a finished job.

        Args:
            model: whose classes they are.
            gzip: whether the client takes gzip.
        """
        legend = Legend(model.name, model.card.classes if model.card else None, model.palette, model.task)

        def encode(job: Job) -> Payload:
            assert job.classmap is not None
            return self.write(legend, job.classmap, job.picture, gzip)

        return encode


class Choice(Protocol):
    """What can be chosen by an Accept header."""

    @property
    def media_type(self) -> str:
        """What asks for it."""
        ...

    @property
    def parameters(self) -> Options:
        """Its options where they are not the usual ones, by name."""
        ...


C = TypeVar("C", bound=Choice)


def forms() -> tuple[Form, ...]:
    """All forms of an answer about one picture, the preferred one first."""
    polygons, no_rle = ("polygons", "1"), ("rle", "0")
    return (
        Form("image/png", _png, light=64 * 64),
        Form("application/json", _Json()),
        Form("application/octet-stream", _raw, light=128 * 128),
        Form("image/png", _overlay, (("overlay", "1"),)),
        Form("application/json", _Json(polygons=True), (polygons,)),
        Form("application/json", _Json(rles=False), (no_rle,)),
        Form("application/json", _Json(rles=False, polygons=True), (polygons, no_rle)),
    )


def choose(accept: str) -> Form:
    """The form for one picture that an Accept header likes best.

    Raises:
        RefusalError: 406, it takes none of them.
    """
    return best(accept, forms())


def best(accept: str, known: Sequence[C]) -> C:
    """The one of `known` that an Accept header likes best; without a preference the first.

    Raises:
        RefusalError: 406, it takes none of them.
    """
    if not accept or accept == "*/*":
        return known[0]
    found, most = None, 0.0
    for wanted in accept.split(","):
        media_type, *pieces = (piece.strip().lower() for piece in wanted.split(";"))
        given = {
            name.strip(): value.strip() for name, sign, value in (piece.partition("=") for piece in pieces) if sign
        }
        own = tuple(sorted((name, value) for name, value in given.items() if value != _USUAL.get(name, value)))
        quality = _quality(given.get("q", "1"))
        form = next((form for form in known if form.parameters == own and _matches(media_type, form.media_type)), None)
        if form and quality > most:
            found, most = form, quality
    if found is None:
        names = ", ".join(";".join([form.media_type, *("=".join(pair) for pair in form.parameters)]) for form in known)
        raise RefusalError(
            406, "not_acceptable", f"Accept asks for '{accept[:200]}'. This service answers with: {names}."
        )
    return found


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def _matches(wanted: str, offered: str) -> bool:
    kind = offered.split("/", maxsplit=1)[0]
    return wanted in (offered, f"{kind}/*", "*/*")


def _png(legend: Legend, classmap: ClassMap, picture: UInt8 | None, gzip: bool) -> Payload:
    return Payload(legend.meaning.encode(classmap, legend.palette), "image/png")


def _overlay(legend: Legend, classmap: ClassMap, picture: UInt8 | None, gzip: bool) -> Payload:
    assert picture is not None
    return Payload(encode_png(legend.meaning.overlay(picture, classmap, legend.palette)), "image/png")


def _raw(legend: Legend, classmap: ClassMap, picture: UInt8 | None, gzip: bool) -> Payload:
    height, width = classmap.shape
    wide = classmap.itemsize == 2
    # Row-major, little-endian.
    data = (classmap.astype("<u2", copy=False) if wide else classmap).tobytes()
    headers = [
        (b"x-segx-shape", b"%d,%d" % (height, width)),
        (b"x-segx-dtype", b"uint16" if wide else b"uint8"),
        (b"vary", b"Accept-Encoding"),
    ]
    if gzip:
        # Class maps are long runs of one value: the fastest level already takes off some 98 %.
        packer = zlib.compressobj(level=1, wbits=31)
        data = packer.compress(data) + packer.flush()
        headers.append((b"content-encoding", b"gzip"))
    return Payload(data, "application/octet-stream", tuple(headers))


@dataclass(frozen=True)
class _Json:
    """Writes JSON with these options."""

    rles: bool = True
    polygons: bool = False

    def __call__(self, legend: Legend, classmap: ClassMap, picture: UInt8 | None, gzip: bool) -> Payload:
        told = describe(legend, classmap, rles=self.rles, polygons=self.polygons)
        return Payload(as_bytes(told), "application/json")
