"""Small pieces of HTML the report is put together from. Whatever is text goes through `text`: class names are input.

A measured figure is a `data` element that holds its unrounded value and where in the report's JSON it stands, so that
programs can read the page, and tests can hold every figure on it against the JSON.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

Place = Sequence[str | int]
"""Where a value stands in the report's JSON: keys and indices from the outside in."""


def text(value: object) -> str:
    """Anything as HTML text, safe in elements and quoted attributes."""
    return html.escape(str(value), quote=True)


def number(value: float, shown: str, of: Place, *, over: Place | None = None, minus: Place | None = None) -> str:
    """A figure with its source.

    Args:
        value: unrounded.
        shown: for people.
        of: where it stands in the report's JSON.
        over: where what it was divided by stands.
        minus: where what was taken from it stands.
    """
    sources = {"of": of, "over": over, "minus": minus}
    attributes = "".join(f' data-{name}="{text(pointer(place))}"' for name, place in sources.items() if place)
    return f'<data value="{value!r}"{attributes}>{text(shown)}</data>'


def pointer(place: Place) -> str:
    """The JSON pointer (RFC 6901) of a place."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def signed(points: float) -> str:
    """Points with two decimals, a real minus sign, and no minus before zero."""
    shown = f"{points:.2f}"
    return shown.replace("-", "") if float(shown) == 0 else shown.replace("-", "\u2212")


def facts(rows: Mapping[str, object]) -> str:
    """Names and their values as a description list; values that are empty are left out."""
    pairs = [(name, value) for name, value in rows.items() if value not in (None, "", (), [])]
    return (
        "<dl>" + "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs) + "</dl>"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], name: str, label: str) -> str:
    """A table whose first cell of a row names it. Cells are HTML; heads are text and repeated at each cell for phones.

    Args:
        heads: of the columns.
        rows: of cells.
        name: the class of the style sheet.
        label: what screen readers call it.
    """
    # Roles are said outright because phones get these rows as blocks, which takes the native ones away.
    top = "".join(f'<th scope="col" role="columnheader">{text(head)}</th>' for head in heads)
    body = ""
    for first, *others in rows:
        cells = "".join(
            f'<td role="cell" data-head="{text(head)}">{cell}</td>'
            for head, cell in zip(heads[1:], others, strict=True)
        )
        body += f'<tr role="row"><th scope="row" role="rowheader">{first}</th>{cells}</tr>'
    return (
        f'<table class="{name}" role="table" aria-label="{text(label)}"><thead role="rowgroup"><tr role="row">{top}'
        f'</tr></thead><tbody role="rowgroup">{body}</tbody></table>'
    )


def swatch(colour: Sequence[int]) -> str:
    """A spot in a class's colour."""
    return f'<span class="swatch" style="background:rgb({",".join(map(str, colour))})"></span>'


def folded(summary: str, body: str) -> str:
    """Something that opens on request."""
    return f"<details><summary>{text(summary)}</summary>{body}</details>"
