"""Which model files there are to serve: files named one by one, and folders that are looked through again and again.

In a folder, `NAME.onnx` is version 1 of NAME, and `NAME/VERSION.onnx` or `NAME/VERSION/*.onnx` (the layout of Triton's
repositories) is version VERSION, a whole number. A third party's file `X.onnx` may have its card beside it as
`X.card.yaml`. Opens no file.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segx_core.errors import ConfigError, ModelError

# How often folders are looked through, seconds. A change counts once it has looked the same twice.
_LOOK = 1.0
_NAME = re.compile(r"[^/\s?#%][^/?#%]{0,199}")
_log = logging.getLogger("segx.serve")
Key = tuple[str, str]
"""Name and version."""


@dataclass(frozen=True)
class Found:
    """One version of one model as it lies on disk."""

    name: str
    version: str
    path: Path
    card: Path | None
    """The card that takes the place of one in the file; None for the file's own."""
    signature: tuple[int, ...]
    """Inode, size and time of change, of the card too: a file replaced or rewritten has another one."""


def is_name(name: str) -> bool:
    """Whether a model may be called so: what can stand in an address, and be written down."""
    return bool(_NAME.fullmatch(name)) and name.isprintable()


class Repository:
    """Files and folders.

    Args:
        sources: ONNX files and folders with them.
        cards: of files named one by one, where they are to have another than their own.

    Raises:
        ConfigError: nothing given, a path that is not there, or two files that would have one name and version.
    """

    def __init__(self, sources: Sequence[Path], cards: Mapping[Path, Path | None] | None = None) -> None:
        if not sources:
            raise ConfigError("at least one model file or folder", "none")
        for source in sources:
            if not source.exists():
                raise ModelError("a model file or a folder of them", f"{source}, which is not there", "Check the path.")
        self._files = [source for source in sources if not source.is_dir()]
        self.folders = [source for source in sources if source.is_dir()]
        self._cards = cards or {}
        self._check()

    def scan(self) -> dict[Key, Found]:
        """What is there now. Of two files with one name and version the first one counts."""
        found: dict[Key, Found] = {}
        for one in self._all():
            if is_name(one.name):
                found.setdefault((one.name, one.version), one)
            elif one.path not in self._nameless:
                self._nameless.add(one.path)
                _log.error("%r cannot be served: a name needs at most 200 characters without / ? # %%", one.path.name)
        return found

    def _check(self) -> None:
        self._nameless: set[Path] = set()  # files whose names are told of already
        found: dict[Key, Path] = {}
        for one in self._all():
            if not is_name(one.name):
                raise ConfigError(
                    "a model name of at most 200 characters without / ? # %", f"{one.name!r}", "Rename the file."
                )
            key = (one.name, one.version)
            if key in found:
                raise ConfigError(
                    "models with different file names, because the name is how callers choose",
                    f"'{one.name}' twice: {found[key]} and {one.path}",
                    "Rename one of the files.",
                )
            found[key] = one.path
        if not found and not self.folders:
            raise ConfigError("at least one model file", "none")

    def _all(self) -> Iterator[Found]:
        for path in self._files:
            yield from _found(path.stem, "1", path, self._cards.get(path))
        for folder in self.folders:
            yield from _in_folder(folder)


async def changes(repository: Repository, known: Mapping[Key, Found]) -> AsyncIterator[tuple[str, bool]]:
    """Follow the folders without end: the name of each model that changed on disk, and whether it is there still.

    Args:
        known: what was there when it was last acted upon.
    """
    seen = before = set(known.values())
    while True:
        await asyncio.sleep(_LOOK)
        now = set(repository.scan().values())
        # A file still being written looks different from one second to the next; wait for it to settle.
        if now == before and now != seen:
            names = sorted({one.name for one in now ^ seen})
            seen = now
            for name in names:
                yield name, any(one.name == name for one in now)
        before = now


def _in_folder(folder: Path) -> Iterator[Found]:
    for entry in _entries(folder):
        if entry.suffix == ".onnx" and entry.is_file():
            yield from _found(entry.stem, "1", entry, None)
        elif entry.is_dir():
            for version in _entries(entry):
                if version.suffix == ".onnx" and version.stem.isdecimal():
                    yield from _found(entry.name, version.stem, version, None)
                elif version.name.isdecimal() and version.is_dir():
                    for path in [one for one in _entries(version) if one.suffix == ".onnx"][:1]:
                        yield from _found(entry.name, version.name, path, None)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []  # gone or closed to us meanwhile: it holds no model now


def _found(name: str, version: str, path: Path, card: Path | None) -> Iterator[Found]:
    beside = path.with_suffix(".card.yaml")
    try:
        card = card or (beside if beside.is_file() else None)
        states = [one.stat() for one in (path, card) if one]
    except OSError:
        return
    signature = tuple(part for one in states for part in (one.st_ino, one.st_size, one.st_mtime_ns))
    yield Found(name, version, path, card, signature)
