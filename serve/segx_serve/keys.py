"""API keys: who may use the service and who may manage it. The file holds their SHA-256, never the keys themselves.

One key a line, comments and blank lines allowed; the date is optional and the key is good until that day ends (UTC):

    # name    scope  hash                   until
    camera-1  use    sha256:4c1f...9a       2027-01-31
    ops       admin  sha256:77be...03

`admin` includes `use`. A plain hash is enough: the keys are 256 random bits, which nobody can guess from it. It knows
nothing of routes; which of them need which scope stands in guard.py.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, get_args

from segx_core import atomic
from segx_core.errors import ConfigError, near

_log = logging.getLogger("segx.serve")
Level = Literal["use", "admin"]
_Signature = tuple[int, int, int]

_PREFIX = "segx_"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"sha256:([0-9a-fA-F]{64})")
_LINE = "NAME SCOPE sha256:HEX [YYYY-MM-DD]"
_CURE = f"A line is {_LINE}; `printf %s KEY | sha256sum` prints the HEX of a key."


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose key was presented."""

    name: str
    scope: Level


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the file."""

    identity: Identity
    digest: bytes
    """SHA-256 of the key, 32 bytes."""
    until: date | None
    """Last day (UTC) on which the key is good."""

    def good(self, today: date) -> bool:
        """Whether the key has not run out."""
        return self.until is None or today <= self.until


class Keys:
    """The keys of one file, read again when the file changes. For one thread, the event loop's.

    A file that turns bad while the service runs changes nothing: the old keys stay, and the log says why.

    Args:
        path: where the file is.
        entries: what it held.
        signature: by which a change of the file shows.
        every: seconds between two looks at the file.
    """

    def __init__(self, path: Path, entries: tuple[Entry, ...], signature: _Signature, every: float = 1.0) -> None:
        self._path = path
        self._entries = entries
        self._signature: _Signature | None = signature
        self._every = every
        self._look = time.monotonic() + every

    @classmethod
    def load(cls, path: Path, every: float = 1.0) -> Keys:
        """Read a key file.

        Raises:
            ConfigError: no such file, no key in it, or a line that is none; names the line.
        """
        entries, signature = _read(path)
        return cls(path, entries, signature, every)

    def __len__(self) -> int:
        return len(self._entries)

    def warnings(self) -> list[str]:
        """What is wrong with the file though it can be used: sentences for whoever starts the service."""
        found = []
        mode = self._path.stat().st_mode
        if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
            found.append(f"{self._path} can be changed by others, who may give themselves a key: chmod 600 mends it.")
        elif os.name == "posix" and mode & stat.S_IROTH:
            found.append(f"{self._path} can be read by everyone on this machine: chmod 600 mends it.")
        today = _today()
        found += [
            f"The key '{entry.identity.name}' in {self._path} ran out on {entry.until}."
            for entry in self._entries
            if not entry.good(today)
        ]
        return found

    def check(self, presented: str | None) -> Identity | None:
        """Whose key this is; None for no key, an unknown one, or one that has run out.

        Every entry is compared, in constant time: how long it takes tells nothing of which matched.
        """
        self._refresh()
        if not presented:
            return None
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        today = _today()
        match: Identity | None = None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest) and entry.good(today):
                match = entry.identity
        return match

    def _refresh(self) -> None:
        now = time.monotonic()
        if now < self._look:
            return
        self._look = now + self._every
        try:
            if _signature(self._path.stat()) == self._signature:
                return
            self._entries, self._signature = _read(self._path)
        except (ConfigError, OSError) as error:
            if self._signature is not None:
                _log.error("the key file changed and cannot be used; the old keys stay: %s", error)
            # Seen and reported: once is enough, and the next good file differs from None.
            self._signature = None
            return
        _log.info("the key file changed: %d keys", len(self._entries))


def presented(headers: Mapping[bytes, bytes]) -> str | None:
    """The key in `Authorization: Bearer KEY` or `X-Api-Key: KEY`, the former first; None where there is none.

    Args:
        headers: by lower-case name.
    """
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    key = value if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
    return key.strip().decode("latin-1") or None


def new_key(path: Path, name: str, scope: Level, until: date | None = None) -> str:
    """Make a key, add its hash to the file (made if absent, readable by its owner alone), and return the key.

    It is the only time the key is seen. Two calls at one time on one file may lose one of the lines.

    Raises:
        ConfigError: a name that is taken or cannot be one, a scope that is none, or a file that is no key file.
        SetupError: the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError("a key name of letters, digits, '.', '_' and '-', at most 64", f"'{name}'")
    if scope not in get_args(Level):
        raise ConfigError("the scope of a key", f"'{scope}'", near(scope, get_args(Level)))
    text = ""
    if path.exists():
        text = _text(path)
        if any(entry.identity.name == name for entry in _parse(text, path)):
            raise ConfigError("a new name for a new key", f"'{name}', which {path} has", "Remove its line first.")
    key = _PREFIX + secrets.token_urlsafe(32)
    line = f"{name} {scope} sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    line = f"{line} {until.isoformat()}" if until else line
    with atomic.replacing(path) as temporary:
        if path.exists():
            path.chmod(0o600)  # the new file takes over the mode of the old one
        # Owner-only before a byte is in it.
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
        temporary.write_text(f"{text}\n{line}\n" if text and not text.endswith("\n") else f"{text}{line}\n", "utf-8")
    return key


def _read(path: Path) -> tuple[tuple[Entry, ...], _Signature]:
    # The signature first: a change between the two reads is then seen at the next look.
    try:
        signature = _signature(path.stat())
    except OSError as error:
        raise ConfigError(f"a key file at {path}", str(error.strerror or error), _CURE) from None
    entries = _parse(_text(path), path)
    if not entries:
        raise ConfigError(f"at least one key in {path}", "none, so nobody could use the service", _CURE)
    return entries, signature


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"a readable key file at {path}", str(error.strerror or error), _CURE) from None
    except UnicodeDecodeError:
        raise ConfigError(f"a text file at {path}", "bytes that are no UTF-8", _CURE) from None


def _parse(text: str, path: Path) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    lines: dict[object, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].split()
        if not content:
            continue
        entry = _entry(content, f"line {number} of {path}")
        for what, value in (("name", entry.identity.name), ("key", entry.digest)):
            if (what, value) in lines:
                before = lines[(what, value)]
                raise ConfigError(
                    f"every {what} once in {path}",
                    f"the {what} of line {before} ('{entry.identity.name}') once more in line {number}",
                    "Remove one of the lines.",
                )
            lines[(what, value)] = number
        entries.append(entry)
    return tuple(entries)


def _entry(content: list[str], where: str) -> Entry:
    """One line's words as an entry. Messages never repeat the hash column: somebody may have put a key there."""
    if len(content) not in (3, 4) or not _NAME.fullmatch(content[0]):
        raise ConfigError(f"{_LINE} in {where}", f"{len(content)} words, the first '{content[0][:64]}'", _CURE)
    name, scope, digest = content[:3]
    hexadecimal = _HASH.fullmatch(digest)
    if hexadecimal is None:
        raise ConfigError(f"sha256: and 64 hexadecimal digits as the third word of {where}", "something else", _CURE)
    until = None
    if len(content) == 4:
        try:
            until = date.fromisoformat(content[3])
        except ValueError:
            raise ConfigError(f"a last day as YYYY-MM-DD in {where}", f"'{content[3][:40]}'") from None
    match scope:
        case "use" | "admin":
            return Entry(Identity(name, scope), bytes.fromhex(hexadecimal[1]), until)
        case _:
            raise ConfigError(f"a scope in {where}", f"'{scope[:40]}'", near(scope, get_args(Level)))


def _signature(status: os.stat_result) -> _Signature:
    return status.st_mtime_ns, status.st_ino, status.st_size


def _today() -> date:
    return datetime.now(UTC).date()
