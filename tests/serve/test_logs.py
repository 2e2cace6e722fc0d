from __future__ import annotations

import json
import logging
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_serve.access import access_log
from segx_serve.http import Request, request_ids
from segx_serve.logs import Json, Logs, Text, escaped

HOSTILE = 'a\nlevel=error forged\r\x1b[31m\x00\u202e\u2028"\ud800\x7f'


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("segx.test", logging.WARNING, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


def failure(message: str) -> logging.LogRecord:
    try:
        raise ValueError(message)
    except ValueError:
        made = record("it failed")
        made.exc_info = sys.exc_info()
        return made


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        os.close(descriptor)


def test_a_json_line_tells_what_happened_when_and_where() -> None:
    made = record("%d of %s", 3, "four", fields={"request_id": "r1", "level": "forged"})
    made.created = 1_700_000_000.1239
    told = json.loads(Json("front-1").format(made))
    assert told == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "warning",
        "logger": "segx.test",
        "role": "front-1",
        "pid": os.getpid(),
        "message": "3 of four",
        "request_id": "r1",
    }
    assert datetime.fromisoformat(told["time"]).tzinfo is not None


def test_an_exception_is_one_field_of_one_line() -> None:
    line = Json("front").format(failure(HOSTILE))
    assert "\n" not in line
    told = json.loads(line)
    assert told["message"] == "it failed"
    assert told["exception"].startswith("Traceback")
    assert "ValueError" in told["exception"]


def test_in_text_an_exception_stands_indented_below() -> None:
    first, *below = Text("front").format(failure("one\ntwo\r\x1b[31mthree")).split("\n")
    assert first.endswith("warning front it failed")
    assert len(below) > 2
    assert all(line.startswith("    ") and "\x1b" not in line and "\r" not in line for line in below)


@settings(deadline=None)
@given(st.text() | st.just(HOSTILE))
def test_nothing_that_is_logged_makes_a_second_line_or_speaks_to_the_terminal(text: str) -> None:
    for formatter in (Json("front"), Text("front")):
        line = formatter.format(record("%s", text, fields={"path": text, text or "x": 1}))
        line.encode("utf-8")
        assert len(line.splitlines()) == 1
        assert not any(
            ord(character) < 32 or 127 <= ord(character) < 160 or character in "\u202e\u2028" for character in line
        )
    told = json.loads(Json("front").format(record("%s", text, fields={"path": text})))
    assert (told["message"], told["path"]) == (text, text)


def test_escaping_keeps_plain_text() -> None:
    assert escaped("Grüße, 日本 €") == "Grüße, 日本 €"
    assert escaped("a\nb") == "a\\nb"


def test_lines_come_out_in_order_and_the_root_logger_is_given_back(pipe: tuple[int, int]) -> None:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    logs = Logs(Json("front"), pipe[1])
    logs.open(logging.INFO)
    for number in range(50):
        logging.getLogger("segx.serve").info("line %d", number)
    logging.getLogger("segx.serve").debug("not asked for")
    logging.getLogger("segx.serve").info("%d", "no number")
    logs.close()
    assert (root.level, root.handlers) == before
    told = [json.loads(line) for line in os.read(pipe[0], 1 << 16).decode().splitlines()]
    assert [one["message"] for one in told[:-1]] == [f"line {number}" for number in range(50)]
    assert "could not be formatted" in told[-1]["message"]
    assert logs.dropped == 0


def test_what_nobody_caught_is_a_line_like_any_other(pipe: tuple[int, int]) -> None:
    hooks = (sys.excepthook, threading.excepthook)
    logs = Logs(Json("front"), pipe[1])
    logs.open(logging.INFO)
    thread = threading.Thread(target=lambda: 1 // 0, name="segx-doomed")
    thread.start()
    thread.join()
    leaves = threading.Thread(target=sys.exit)
    leaves.start()
    leaves.join()
    try:
        raise OSError("main")
    except OSError as error:
        sys.excepthook(OSError, error, error.__traceback__)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    logs.close()
    assert (sys.excepthook, threading.excepthook) == hooks
    first, second = (json.loads(line) for line in os.read(pipe[0], 1 << 16).decode().splitlines())
    assert (first["level"], first["message"]) == ("critical", "nobody caught this in segx-doomed")
    assert first["exception"].endswith("ZeroDivisionError: integer division or modulo by zero")
    assert second["message"] == "nobody caught this"
    assert second["exception"].endswith("OSError: main")


def test_a_number_that_json_has_not_is_told_of(pipe: tuple[int, int]) -> None:
    logs = Logs(Json("front"), pipe[1])
    logs.open(logging.INFO)
    logging.getLogger("segx.serve").info("odd", extra={"fields": {"seconds": float("nan")}})
    logs.close()
    told = json.loads(os.read(pipe[0], 1 << 16))
    assert "could not be formatted" in told["message"]
    assert "odd" in told["message"]


def test_a_stderr_that_takes_nothing_loses_lines_and_stops_nobody(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[0], False)
    logs = Logs(Text("front"), pipe[1], room=4)
    logs.open(logging.INFO)
    for _ in range(100):
        # Far more than a pipe and the queue hold: without dropping this would never end.
        logging.getLogger("segx.serve").info("x" * 10_000)
    assert logs.dropped > 10
    lost = logs.dropped
    taken = b""
    done = threading.Event()
    closer = threading.Thread(target=lambda: (logs.close(30), done.set()))
    closer.start()
    while not done.is_set():
        try:
            taken += os.read(pipe[0], 1 << 16)
        except BlockingIOError:
            done.wait(0.001)
    closer.join()
    taken += os.read(pipe[0], 1 << 16) if select_readable(pipe[0]) else b""
    lines = taken.decode().splitlines()
    told = [int(number) for number in re.findall(r"(\d+) log lines were lost", taken.decode())]
    assert sum(told) == lost == logs.dropped
    assert sum("xxx" in line for line in lines) == 100 - lost


def select_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def test_a_closed_stderr_is_counted(pipe: tuple[int, int]) -> None:
    other = os.dup(pipe[1])
    os.close(other)
    logs = Logs(Text("front"), other)
    logs.open(logging.INFO)
    logging.getLogger("segx.serve").info("nobody hears")
    logs.close()
    assert logs.dropped == 1


def test_a_process_configured_so_writes_to_stderr_and_ends() -> None:
    code = (
        "import logging\nfrom segx_serve.logs import configure\nlogs = configure('json', 'info', 'front-2')\n"
        "logging.getLogger('segx.serve').info('hello')\nlogging.getLogger('uvicorn').debug('no')\nlogs.close()\n"
    )
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=here, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert (json.loads(line)["message"], json.loads(line)["role"]) == ("hello", "front-2")
    assert done.stdout == ""


def test_an_access_line_names_the_request_but_no_private_value(caplog: pytest.LogCaptureFixture) -> None:
    scope = {
        "method": "POST",
        "path": "/segment\n",
        "query_string": b"model=secret&x%0Ay=1",
        "client": ("127.0.0.1", 1),
        "headers": [(b"x-request-id", b"r-1"), (b"authorization", b"Bearer hidden")],
    }
    request = Request(scope, lambda: None, request_ids())  # type: ignore[arg-type, return-value]
    assert access_log(False) is None
    write = access_log(True)
    assert write is not None
    with caplog.at_level(logging.INFO, "segx.access"):
        write(request, 200, 0.01234567, 99, "tiny", "camera")
        write(request, 401, 0.1, 5, None, None)
    first, second = (json.loads(Json("front").format(made)) for made in caplog.records)
    usual = {"time", "level", "logger", "role", "pid", "message"}
    assert {name: value for name, value in first.items() if name not in usual} == {
        "request_id": "r-1", "method": "POST", "path": "/segment\n?model&x\ny", "status": 200, "seconds": 0.012346,
        "bytes": 99, "client": "127.0.0.1", "model": "tiny", "key": "camera",
    }  # fmt: skip
    assert not {"model", "key"} & set(second)
    for made in caplog.records:
        for line in (Json("front").format(made), Text("front").format(made)):
            assert "secret" not in line
            assert "hidden" not in line
            assert "\n" not in line
