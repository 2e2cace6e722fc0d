"""The pictures of the report: where two files disagree most, small enough to travel inside a page.

A gate's figures are means; these are the pictures behind the worst of them. Maps are thinned to whole pixels, never
blended, and the map of changes keeps every changed spot, however thin. It knows nothing of HTML but image addresses.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segx_core.datasets import Dataset, Sample
from segx_core.picture import encode_mask, encode_png
from segx_core.runner import ClassMap, Runner, UInt8

PICTURES = 6
"""How many pictures a report shows."""
LOST, GAINED, OTHER = 1, 2, 3
"""Values of a map of changes: right only before, right only after, right neither time or not labelled. 0: the same."""
CHANGE_COLOURS = {LOST: (255, 138, 0), GAINED: (64, 170, 255), OTHER: (244, 244, 244)}
"""RGB of each on the darkened picture; told apart with any colour vision, and by their lightness."""

_SIDE = 480  # longest side of what is shown, pixels
_DARK = 0.38  # brightness left to the picture under a map of changes


@dataclass(frozen=True)
class StripPicture:
    """One picture with what was made of it, thinned to at most 480 pixels a side."""

    name: str
    share: float
    """Share of all pixels whose class differs; without a candidate, of labelled pixels that are wrong. 0-1."""
    picture: UInt8
    """(h, w, 3) RGB."""
    truth: ClassMap
    """(h, w) class indices, ignored ones past the classes."""
    reference: ClassMap
    """(h, w) of the float32 file."""
    candidate: ClassMap | None
    """(h, w) of the file compared with it; None where the float32 file is held against the truth alone."""
    changes: UInt8
    """(h, w): 0, LOST, GAINED or OTHER."""
    moved: tuple[int, int] | None
    """The most frequent change of class, before and after; without a candidate, true class and class found."""


def strip(
    reference: Runner,
    candidate: Runner | None,
    dataset: Dataset,
    samples: Sequence[Sample],
    shares: Sequence[float],
    count: int = PICTURES,
) -> tuple[StripPicture, ...]:
    """Run the pictures with the largest shares once more and keep what came out, worst first.

    Frames of a film follow each other and look alike, so close neighbours of a picture already taken are passed over.

    Args:
        reference: the float32 file.
        candidate: the file compared with it; None holds the reference against the truth.
        dataset: reads the samples.
        samples: what was measured.
        shares: of each sample, as Quality.differing or Quality.wrong tell; pictures with 0 are left out.
        count: at most so many.
    """
    apart = len(samples) // (4 * count)
    chosen: list[int] = []
    for index in sorted(range(len(samples)), key=lambda index: (-shares[index], index)):
        if len(chosen) < count and shares[index] > 0 and all(abs(index - other) > apart for other in chosen):
            chosen.append(index)
    return tuple(_look(reference, candidate, dataset, samples[index], shares[index]) for index in chosen)


def _look(reference: Runner, candidate: Runner | None, dataset: Dataset, sample: Sample, share: float) -> StripPicture:
    picture, truth = dataset.read(sample)
    before = reference.run(picture[None])[0]
    after = None if candidate is None else candidate.run(picture[None])[0]
    labelled = truth < len(dataset.classes)
    changed = changes(truth, before, after, labelled)
    pair = (truth, before) if after is None else (before, after)
    step = -(-max(truth.shape) // _SIDE)
    return StripPicture(
        sample.name,
        share,
        _smaller(picture, step),
        truth[::step, ::step],
        before[::step, ::step],
        None if after is None else after[::step, ::step],
        _strongest(changed, step),
        _most_frequent(pair[0][changed > 0], pair[1][changed > 0]),
    )


def changes(truth: ClassMap, before: ClassMap, after: ClassMap | None, labelled: NDArray[np.bool_]) -> UInt8:
    """(H, W) LOST, GAINED, OTHER or 0; without `after`, LOST where `before` misses a labelled pixel."""
    if after is None:
        return np.where(labelled & (before != truth), LOST, 0).astype(np.uint8)
    kind = np.full(truth.shape, OTHER, np.uint8)
    kind[labelled & (before == truth)] = LOST
    kind[labelled & (after == truth)] = GAINED
    kind[before == after] = 0
    return kind


def _smaller(picture: UInt8, step: int) -> UInt8:
    height, width = picture.shape[0] // step or 1, picture.shape[1] // step or 1
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))


def _strongest(kind: UInt8, step: int) -> UInt8:
    """The commonest change of each `step` x `step` block that has one, so that thin lines do not vanish."""
    height, width = -(-kind.shape[0] // step), -(-kind.shape[1] // step)
    padded = np.zeros((height * step, width * step), np.uint8)
    padded[: kind.shape[0], : kind.shape[1]] = kind
    blocks = padded.reshape(height, step, width, step)
    counts = np.stack([(blocks == value).sum((1, 3)) for value in (LOST, GAINED, OTHER)])
    return np.where(counts.any(0), counts.argmax(0) + 1, 0).astype(np.uint8)


def _most_frequent(before: ClassMap, after: ClassMap) -> tuple[int, int] | None:
    if not len(before):
        return None
    codes, counts = np.unique(before.astype(np.int64) << 16 | after, return_counts=True)
    code = int(codes[counts.argmax()])
    return code >> 16, code & 0xFFFF


def photo_address(picture: UInt8) -> str:
    """(h, w, 3) RGB as the address of a JPEG."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=80, optimize=True)
    return _address("jpeg", out.getvalue())


def map_address(classmap: ClassMap, palette: Sequence[tuple[int, int, int]]) -> str:
    """(h, w) class indices in the colours of their classes as the address of a PNG; ignored ones are white."""
    if classmap.dtype == np.uint8:
        return _address("png", encode_mask(classmap, palette))
    colours = np.array([*palette, (255, 255, 255)], np.uint8)
    return _address("png", encode_png(np.take(colours, classmap, axis=0, mode="clip")))


def changes_address(shown: StripPicture) -> str:
    """The darkened picture with its changes in colour as the address of a JPEG."""
    height, width = shown.changes.shape
    grey = Image.fromarray(shown.picture).convert("L").resize((width, height))
    canvas = np.repeat((np.asarray(grey) * _DARK).astype(np.uint8)[..., None], 3, axis=2)
    for kind, colour in CHANGE_COLOURS.items():
        canvas[shown.changes == kind] = colour
    out = io.BytesIO()
    Image.fromarray(canvas).save(out, "JPEG", quality=82, subsampling=0, optimize=True)  # colours keep their edges
    return _address("jpeg", out.getvalue())


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
