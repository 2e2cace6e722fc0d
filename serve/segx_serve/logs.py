"""Log lines, as text or as JSON, that can neither stop the service nor be forged by what clients send.

    any thread ──emit: format, put if there is room──> bounded queue ──writer thread──> stderr

Whoever reads stderr may stop reading (a full pipe, a stopped terminal): then lines are dropped and counted, and the
service goes on. It knows nothing of requests; access lines are made in access.py.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

LogFormat = Literal["text", "json"]

_ROOM = 4096  # lines
_LONGEST = 16_384  # characters of one message; a hostile header is no reason for a megabyte a line
# Control characters that end a line, move a cursor or turn text around, and halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_BUT_NEWLINE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Json(logging.Formatter):
    """One JSON object a record: time, level, logger, role, message, then what the record brings.

    A record brings `extra={"fields": {...}}`, whose names stand beside the others, and an exception as one text.

    Args:
        role: which of the service's processes this is.
    """

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line."""
        told: dict[str, object] = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "role": self._role,
            "pid": record.process,
            "message": record.getMessage()[:_LONGEST],
        }
        for name, value in fields(record).items():
            told.setdefault(name, value)
        if record.exc_info:
            told["exception"] = _exception(record)
        # ASCII alone: every line is valid UTF-8, and no character in it means anything to a terminal.
        return json.dumps(told, separators=(",", ":"), default=str, allow_nan=False).replace("\x7f", "\\u007f")


class Text(logging.Formatter):
    """A line for people: time, level, role, message, fields; the lines of an exception below it, indented.

    Args:
        role: which of the service's processes this is.
    """

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and its exception."""
        pairs = "".join(f" {name}={value}" for name, value in fields(record).items())
        message = f"{record.getMessage()[:_LONGEST]}{pairs}"
        line = f"{_time(record.created)} {record.levelname.lower():7} {self._role} {escaped(message)}"
        if record.exc_info:
            for below in _UNSAFE_BUT_NEWLINE.sub(_escape, _exception(record)).splitlines():
                line += f"\n    {below}"
        return line


class Logs:
    """Where log lines go from `configure` until `close`.

    Args:
        formatter: how a record becomes text.
        descriptor: file descriptor to write to.
        room: lines that may wait to be written.
    """

    def __init__(self, formatter: logging.Formatter, descriptor: int, room: int = _ROOM) -> None:
        self._lines: queue.Queue[bytes | None] = queue.Queue(room)
        self._descriptor = descriptor
        self._dropped = 0
        self._told = 0
        self._lock = threading.Lock()
        self._handler = _Handler(self._put)
        self._handler.setFormatter(formatter)
        self._before: tuple[int, list[logging.Handler]] | None = None
        self._hooks = (sys.excepthook, threading.excepthook)
        # A daemon: a stderr that takes nothing must not keep the process from ending.
        self._writer = threading.Thread(target=self._write, name="segx-logs", daemon=True)

    @property
    def dropped(self) -> int:
        """Lines lost so far because nobody took them."""
        return self._dropped

    def open(self, level: int) -> None:
        """Take over the root logger and what nobody caught in any thread, and start writing."""
        root = logging.getLogger()
        self._before = (root.level, root.handlers[:])
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        root.addHandler(self._handler)
        root.setLevel(level)
        self._hooks = (sys.excepthook, threading.excepthook)
        sys.excepthook, threading.excepthook = _uncaught, _uncaught_in_thread
        self._writer.start()

    def close(self, patience: float = 2.0) -> None:
        """Write what waits, for at most `patience` seconds, and give the root logger back as it was."""
        root = logging.getLogger()
        root.removeHandler(self._handler)
        assert self._before is not None
        sys.excepthook, threading.excepthook = self._hooks
        level, handlers = self._before
        root.setLevel(level)
        for handler in handlers:
            root.addHandler(handler)
        until = time.monotonic() + patience
        try:
            self._lines.put(None, timeout=patience)
        except queue.Full:
            return
        self._writer.join(max(0.0, until - time.monotonic()))

    def _put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line.encode("utf-8", "backslashreplace") + b"\n")
        except queue.Full:
            with self._lock:
                self._dropped += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            self._tell()
            self._out(line)
        self._tell()

    def _tell(self) -> None:
        """Say how many lines were lost since it was last said."""
        if lost := self._dropped - self._told:
            self._told += lost
            self._out(self._lost(lost))

    def _lost(self, count: int) -> bytes:
        text = f"{count} log lines were lost because stderr did not take them"
        record = logging.LogRecord("segx.logs", logging.WARNING, __file__, 0, text, None, None)
        return self._handler.format(record).encode() + b"\n"

    def _out(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            # Closed, or a full disk: there is nowhere to say so but in the count.
            with self._lock:
                self._dropped += 1
                self._told = self._dropped


class _Handler(logging.Handler):
    """Formats in the thread that logs, so that what a record points to cannot change meanwhile."""

    def __init__(self, put: Callable[[str], None]) -> None:
        super().__init__()
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record on; one that cannot be formatted is told of instead of lost."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - logging never breaks the one who logs
            broken = logging.LogRecord(
                record.name, logging.ERROR, record.pathname, record.lineno,
                f"a log line could not be formatted ({error!r}): {record.msg!r}", None, None,
            )  # fmt: skip
            line = self.format(broken)
        self._put(line)


def configure(form: LogFormat, level: str, role: str) -> Logs:
    """Send this process's log lines to stderr from now on. Called once at the start of a process, closed at its end.

    Args:
        form: "text" or "json".
        level: "debug", "info", "warning" or "error".
        role: which of the service's processes this is, such as "front-1"; stands in every line.
    """
    formatter = Json(role) if form == "json" else Text(role)
    logs = Logs(formatter, sys.__stderr__.fileno() if sys.__stderr__ else 2)
    logs.open(logging.getLevelNamesMapping()[level.upper()])
    return logs


def _uncaught(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return  # somebody pressed Ctrl-C: no failure
    logging.getLogger("segx").critical("nobody caught this", exc_info=(kind, error, where))


def _uncaught_in_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not issubclass(failed.exc_type, SystemExit):
        name = failed.thread.name if failed.thread else "a thread"
        told = (failed.exc_type, failed.exc_value, failed.exc_traceback)
        logging.getLogger("segx").critical("nobody caught this in %s", name, exc_info=told)


def fields(record: logging.LogRecord) -> dict[str, object]:
    """What was logged with `extra={"fields": {...}}`."""
    found = getattr(record, "fields", None)
    return found if isinstance(found, dict) else {}


def escaped(text: str) -> str:
    """A text on one line, with everything a terminal or a log reader could take for more than text spelled out."""
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _exception(record: logging.LogRecord) -> str:
    assert record.exc_info
    return "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
