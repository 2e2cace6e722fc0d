"""Files that appear whole or not at all: written beside, flushed to the disk, then renamed over the old one.

It knows nothing of what is written. A full disk or a missing permission becomes a SetupError with a cure.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segx_core.errors import SegxError, SetupError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM)
_LEFTOVER = re.compile(r"\..*\.[0-9a-f]{8}\.tmp(\.[^.]*)?")  # the names that `replacing` gives
_NEARLY_FULL = 1 << 20  # bytes free under which a failed writer is taken to have failed for want of space


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path`, all or nothing. Raises SetupError as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` as UTF-8 with plain newlines, all or nothing. Raises SetupError as `replacing` does."""
    write_bytes(path, text.encode())


def make_folder(path: Path) -> None:
    """Make `path` and its parents where absent; SetupError naming it where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"to make the folder {path}", error.strerror or str(error), "Choose another --out or mend its permissions."
        ) from error


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a path to write to; on leaving, that file takes the place of `path` in one step.

    The yielded file stands in the same folder (made if absent), is hidden, and has the suffix of `path`, so writers
    that choose a format by suffix work. Whatever goes wrong inside, Ctrl-C included, it is removed and the old file
    stays as it was. A link is followed: its target is replaced.

    Raises:
        SetupError: full disk, missing permission, read-only or otherwise unusable place.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if path.exists():
            shutil.copymode(path, temporary)
        _flush(temporary)
        temporary.replace(path)
    except SegxError:
        raise
    except OSError as error:
        if error.errno in (*_FULL, errno.EIO) or _names(error, path, temporary):
            raise _explain(error, path) from error
        raise
    except Exception as error:
        # Native writers (torch.save, for one) report a full disk as whatever error they please.
        if _free_bytes(path.parent) < _NEARLY_FULL:
            raise _explain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path) from error
        raise
    finally:
        with suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what writers killed in the middle left in `folder`. Only for who holds the folder: a live writer's too."""
    for path in folder.glob(".*.tmp*"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _names(error: OSError, path: Path, temporary: Path) -> bool:
    """Whether the error is about the file being written, and not about something else the writer touched."""
    here = {str(path), str(temporary), *(str(parent) for parent in path.parents)}
    return bool(here & {str(error.filename), str(error.filename2)})


def _explain(error: OSError, path: Path) -> SetupError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        cure = f"Free some space ({_free_bytes(path.parent) >> 20} MiB are left there) or choose another place."
    elif error.errno in _DENIED:
        cure = f"Give yourself write permission on {path.parent} or choose another place."
    elif error.errno == errno.EROFS:
        cure = "That disk is mounted read-only; choose another place."
    elif error.errno == errno.EISDIR:
        cure = "Name a file, not a folder."
    elif error.errno in (errno.ENOTDIR, errno.EEXIST):
        cure = "A part of that path is a file, not a folder; choose another place."
    else:
        cure = "Choose another place."
    return SetupError(f"to write {path}", f"'{reason}'; nothing there was changed", cure)


def _free_bytes(folder: Path) -> int:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut. Windows has no such call and needs none."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
