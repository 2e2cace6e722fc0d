"""Progress that people see: a bar with ETA on a terminal, a plain line now and then everywhere else.

It writes to stderr only, so that results on stdout stay clean, and knows nothing of what is being done.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

_EVERY_S = 10.0  # seconds between plain lines
_EVERY_SHARE = 0.1  # share of the work between plain lines
_AT_MOST_EVERY_S = 1.0  # fast loops do not flood a log


@functools.cache
def console() -> Console:
    """The console for people, on stderr. One object, because a bar and messages must share it to stay apart."""
    return Console(stderr=True, highlight=False)


def track(items: Iterable[T], description: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Yield `items` unchanged while showing how far they are.

    Args:
        items: what to go through.
        description: what is being done, "reading masks".
        total: how many there are, where `items` has no length.
        unit: what one item is called, "pictures".
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if console().is_interactive:
        yield from _bar(items, description, total, unit)
    else:
        yield from _lines(items, description, total, unit)


def _bar(items: Iterable[T], description: str, total: int | None, unit: str) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console()) as progress:
        yield from progress.track(items, total=total, description=description)


def _lines(items: Iterable[T], description: str, total: int | None, unit: str) -> Iterator[T]:
    start = shown_at = time.monotonic()
    done = shown = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if due(done - shown, total, now - shown_at) and done != total:
            _say(line(description, done, total, unit, now - start))
            shown, shown_at = done, now
    _say(f"{description}: {done} {unit} done in {duration(time.monotonic() - start)}")


def due(since: int, total: int | None, seconds: float) -> bool:
    """Whether a plain line is due, `since` items and `seconds` after the last one."""
    if seconds >= _EVERY_S:
        return True
    return total is not None and since >= total * _EVERY_SHARE and seconds >= _AT_MOST_EVERY_S


def line(description: str, done: int, total: int | None, unit: str, seconds: float) -> str:
    """One plain line: how far, how fast, how long still."""
    rate = done / seconds if seconds > 0 else 0.0
    speed = f"{rate:.1f} {unit}/s" if rate >= 1 or rate == 0 else f"{1 / rate:.1f} s per item"
    if not total:
        return f"{description}: {done} {unit}, {speed}"
    left = duration((total - done) * seconds / done) if done else "unknown"
    return f"{description}: {done}/{total} {unit} ({done / total:.0%}), {speed}, about {left} left"


def duration(seconds: float) -> str:
    """Seconds as people say them: "8 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _say(text: str) -> None:
    console().print(text, markup=False, soft_wrap=True)
