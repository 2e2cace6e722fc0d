"""The report's section of pictures: each with its truth, both files' maps and what changed, and a legend below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from segx_core.card import Card
from segx_export.report import FileReport
from segx_export.report_html import swatch, text
from segx_export.report_pictures import (
    CHANGE_COLOURS,
    GAINED,
    LOST,
    OTHER,
    StripPicture,
    changes_address,
    map_address,
    photo_address,
)


def pictures_section(pictures: Sequence[StripPicture], files: Sequence[FileReport], index: int, card: Card) -> str:
    """The section of pictures.

    Args:
        pictures: worst first; none says that nothing differs.
        files: of the report.
        index: of the file compared with fp32; 0 where fp32 is held against the truth.
        card: classes and colours.
    """
    name = files[index].precision
    measured = files[index].measurement
    count = measured.images if measured is not None else 0
    if index:
        title, aim = f"Where fp32 and {name} disagree most", "class"
        says = f"The pictures with the largest share of pixels whose class differs, of {count} measured"
    else:
        title, aim = "Where fp32 errs most", "label"
        says = f"The pictures with the largest share of labelled pixels that are wrong, of {count} measured"
    says += "; of close neighbours in the data only the worst, for frames of one film look alike."
    if not pictures:
        says = f"On all {count} pictures measured every pixel has the same {aim}."
    figures = "".join(_figure(shown, name, card) for shown in pictures)
    legend = _legend(pictures, name, card) if pictures else ""
    return f'<section><h2>{text(title)}</h2><p class="soft">{says}</p>{figures}{legend}</section>'


def _figure(shown: StripPicture, name: str, card: Card) -> str:
    cells = [
        ("picture", photo_address(shown.picture), ""),
        ("truth", map_address(shown.truth, card.palette), "map"),
        ("fp32", map_address(shown.reference, card.palette), "map"),
    ]
    if shown.candidate is not None:
        cells.append((name, map_address(shown.candidate, card.palette), "map"))
    cells.append(("differences" if shown.candidate is not None else "errors", changes_address(shown), "map"))
    images = "".join(
        f'<div><img class="{kind}" alt="{text(f"{label} of {shown.name}")}" src="{address}">'
        f"<span>{text(label)}</span></div>"
        for label, address, kind in cells
    )
    return (
        f"<figure><figcaption><b>{text(shown.name)}</b> {text(_told(shown, card))}</figcaption>"
        f'<div class="strip of{len(cells)}">{images}</div></figure>'
    )


def _told(shown: StripPicture, card: Card) -> str:
    """The share and the commonest change in words."""
    verb = "differ" if shown.candidate is not None else "are wrong"
    share = f"{shown.share:.2%} of pixels {verb}" if shown.share >= 0.0001 else f"a few pixels {verb}"
    if shown.moved is None:
        return share
    before, after = (card.classes[code] if code < len(card.classes) else "unlabelled" for code in shown.moved)
    return f"{share}, mostly {before} \u2192 {after}"


def _legend(pictures: Sequence[StripPicture], name: str, card: Card) -> str:
    if pictures[0].candidate is None:
        kinds = [(LOST, "wrong")]
    else:
        kinds = [(LOST, f"right in fp32, wrong in {name}"), (GAINED, f"right in {name}, wrong in fp32")]
        kinds.append((OTHER, "wrong in both, or unlabelled"))
    found: set[int] = set()
    for shown in pictures:
        for classmap in (shown.truth, shown.reference, shown.candidate):
            found.update(() if classmap is None else np.unique(classmap).tolist())
    classes = [(card.palette[code], card.classes[code]) for code in sorted(found) if code < len(card.classes)]
    if any(code >= len(card.classes) for code in found):
        classes.append(((255, 255, 255), "unlabelled"))
    differences = _spots((CHANGE_COLOURS[kind], said) for kind, said in kinds)
    return (
        f'<ul class="legend" aria-label="Colours of differences">{differences}</ul>'
        f'<ul class="legend" aria-label="Colours of classes">{_spots(classes)}</ul>'
    )


def _spots(entries: Iterable[tuple[Sequence[int], str]]) -> str:
    return "".join(f"<li>{swatch(colour)}{text(said)}</li>" for colour, said in entries)
