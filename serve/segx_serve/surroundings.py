"""What a service finds where it is started, and makes the best of: signals, standard streams, a place for sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from segx_core.errors import SetupError

# A socket's path may have 108 bytes on Linux and 104 elsewhere; what is put behind the folder's takes up to 40.
_LONGEST_FOLDER = 64
_PLACES = ("/tmp", "/var/tmp", "/dev/shm")


def end_signals() -> list[signal.Signals]:
    """The signals that end a service; a terminal's end only where nobody said (as nohup does) that it should not."""
    if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def open_standard_streams() -> None:
    """Put nothing in the place of standard streams that were closed.

    A socket would else get the number of stderr, and log lines would go to whoever is at its other end.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one: the ones before it are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


@contextlib.contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder of our own with a path short enough for sockets; in TMPDIR if that will do.

    Raises:
        SetupError: there is none.
    """
    why = "none"
    for place in dict.fromkeys([os.environ.get("TMPDIR") or _PLACES[0], *_PLACES]):
        try:
            folder = tempfile.TemporaryDirectory(prefix="segx-", dir=place, ignore_cleanup_errors=True)
        except OSError as error:
            why = f"{place}: {error.strerror}"
            continue
        with folder as name:
            if len(os.fsencode(name)) <= _LONGEST_FOLDER:
                yield Path(name)
                return
        why = f"{place}, whose path is too long"
    raise SetupError("a folder for the sockets of the service's processes", why, "Set TMPDIR to a short writable path.")
