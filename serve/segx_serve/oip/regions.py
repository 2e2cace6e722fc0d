"""System shared memory: the regions clients registered, read and written through their file.

Nothing is mapped: whoever truncates a mapped file kills the process that touches it, while `pread` and `pwrite` merely
come back short. Every operation may be repeated, so that several processes can replay the same calls in step. It knows
nothing of HTTP, gRPC or tensors.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segx_serve.http import RefusalError
from segx_serve.oip.refusals import bad, quoted

_KEY = re.compile(r"/?([A-Za-z0-9._-]{1,200})")
_LONGEST_NAME = 200
_MOST = 2**48


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a region; offset from the region's begin, in bytes."""

    region: str
    offset: int
    size: int


@dataclass(frozen=True)
class Region:
    """Part of a shared memory object under a name of the client's choice."""

    name: str
    key: str
    offset: int
    byte_size: int


@dataclass(frozen=True)
class _Opened:
    region: Region
    file: int


class Regions:
    """All registered regions of one process.

    Args:
        most: how many there may be at once.
        reserved: beginnings of object names that no client may touch, such as the service's own.
        folder: where the system keeps its shared memory objects.
    """

    def __init__(self, most: int = 64, reserved: Sequence[str] = ("sem.",), folder: Path = Path("/dev/shm")) -> None:
        self._most = most
        self._reserved = tuple(reserved)
        self._folder = folder
        self._opened: dict[str, _Opened] = {}

    def register(self, region: Region) -> None:
        """Open a region. Registering the same one again opens its object anew.

        Raises:
            RefusalError: 400 for a name, key or extent that cannot be, 404 where the object does not exist.
        """
        known = self._opened.get(region.name)
        if known is not None and known.region != region:
            raise bad(
                f"Shared memory region {quoted(region.name)} is registered already, otherwise. Unregister it first."
            )
        if known is None and len(self._opened) >= self._most:
            raise bad(f"{self._most} shared memory regions are registered, more are not allowed. Unregister some.")
        _check(region)
        file = self._open(region.key)
        try:
            self._fits(file, region)
        except BaseException:
            os.close(file)
            raise
        if known is not None:
            os.close(known.file)
        self._opened[region.name] = _Opened(region, file)

    def unregister(self, name: str = "") -> None:
        """Forget one region, or all; one that is not registered is forgotten already."""
        for gone in [name] if name else list(self._opened):
            opened = self._opened.pop(gone, None)
            if opened is not None:
                os.close(opened.file)

    def status(self, name: str = "") -> list[Region]:
        """One region, or all.

        Raises:
            RefusalError: 404 for one that is not registered.
        """
        if name:
            return [self._find(name).region]
        return [opened.region for opened in self._opened.values()]

    def check(self, slot: Slot) -> None:
        """Whether a place lies inside a registered region.

        Raises:
            RefusalError: 404 for an unknown region, 400 past its end.
        """
        self._place(slot)

    def read(self, slot: Slot) -> bytes:
        """A copy of what stands in a place.

        Raises:
            RefusalError: as `check`, and 400 where the object has become shorter than its region.
        """
        file, start = self._place(slot)
        parts: list[bytes] = []
        missing = slot.size
        while missing:
            part = os.pread(file, missing, start + slot.size - missing)
            if not part:
                raise bad(
                    f"The object of shared memory region {quoted(slot.region)} has become shorter than the region."
                )
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, slot: Slot, parts: Sequence[memoryview]) -> None:
        """Write parts one after another into a place.

        Raises:
            RefusalError: as `check`, 400 where the place is too small, 507 where the system has no memory left.
        """
        file, at = self._place(slot)
        needed = sum(part.nbytes for part in parts)
        if needed > slot.size:
            raise bad(
                f"The output needs {needed} bytes, its place in shared memory region {quoted(slot.region)} has "
                f"{slot.size}."
            )
        try:
            for part in parts:
                view = part.cast("B")
                while view:
                    written = os.pwrite(file, view, at)
                    at += written
                    view = view[written:]
        except OSError as error:
            text = f"Writing to shared memory region {quoted(slot.region)} failed: {error.strerror}."
            raise RefusalError(507, "shared_memory_full", text) from None

    def close(self) -> None:
        """Forget everything."""
        self.unregister()

    def _find(self, name: str) -> _Opened:
        if name not in self._opened:
            text = f"No shared memory region {quoted(name)} is registered. Register it first."
            raise RefusalError(404, "unknown_region", text)
        return self._opened[name]

    def _place(self, slot: Slot) -> tuple[int, int]:
        """File and absolute position."""
        opened = self._find(slot.region)
        region = opened.region
        if slot.size < 1 or slot.offset < 0 or slot.offset + slot.size > region.byte_size:
            raise bad(
                f"Shared memory region {quoted(slot.region)} has {region.byte_size} bytes; {slot.size} bytes at "
                f"{slot.offset} do not lie inside it."
            )
        return opened.file, region.offset + slot.offset

    def _open(self, key: str) -> int:
        match = _KEY.fullmatch(key)
        if match is None or match[1] in (".", ".."):
            raise bad(f"A shared memory key is made of letters, digits, '.', '_' and '-', got {quoted(key)}.")
        name = match[1]
        if name.startswith(self._reserved):
            raise bad(f"Shared memory keys that begin as {quoted(key)} does are not for clients.")
        # O_NOFOLLOW: no link may lead elsewhere. O_NONBLOCK: no pipe may hold the service up.
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            return os.open(self._folder / name, flags)
        except FileNotFoundError:
            raise RefusalError(404, "unknown_key", f"There is no shared memory object {quoted(key)}.") from None
        except OSError as error:
            raise bad(f"Shared memory object {quoted(key)} cannot be opened: {error.strerror}.") from None

    def _fits(self, file: int, region: Region) -> None:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise bad(f"Shared memory object {quoted(region.key)} is no shared memory.")
        if region.offset + region.byte_size > found.st_size:
            raise bad(
                f"Shared memory object {quoted(region.key)} has {found.st_size} bytes; a region of {region.byte_size} "
                f"at {region.offset} does not lie inside it."
            )


def _check(region: Region) -> None:
    if not 1 <= len(region.name) <= _LONGEST_NAME:
        raise bad(f"A shared memory region's name has 1 to {_LONGEST_NAME} characters, got {len(region.name)}.")
    if not (0 <= region.offset <= _MOST and 1 <= region.byte_size <= _MOST):
        raise bad(
            "A shared memory region has an offset from 0 and a byte_size from 1, got "
            f"{quoted(region.offset)} and {quoted(region.byte_size)}."
        )
