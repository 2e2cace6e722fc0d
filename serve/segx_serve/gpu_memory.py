"""How much of a GPU's memory this process uses, asked of NVIDIA's management library through ctypes.

What cannot be found out is None: no driver, a driver that does not tell, or a container whose process numbers are not
those that the driver knows.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TOO_SMALL = 7  # NVML_ERROR_INSUFFICIENT_SIZE
_UNKNOWN = 2**64 - 1
_MOST = 4096


class _Process(ctypes.Structure):
    """nvmlProcessInfo_t, versions 2 and 3."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class GpuMemory:
    """Bytes on all GPUs that this process uses.

    Args:
        name: of the library; None for what it is called on this system.
    """

    def __init__(self, name: str | None = None) -> None:
        self._pid = os.getpid()
        self._library = _opened(name or ("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"))

    def used(self) -> int | None:
        """Bytes, None where that cannot be found out."""
        if self._library is None:
            return None
        count = ctypes.c_uint()
        if self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return None
        found = [
            process.used
            for index in range(count.value)
            for process in self._processes(index)
            if process.pid == self._pid and process.used != _UNKNOWN
        ]
        return sum(found) if found else None

    def _processes(self, index: int) -> list[_Process]:
        assert self._library is not None
        device, count = ctypes.c_void_p(), ctypes.c_uint(64)
        if self._library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device)):
            return []
        while True:
            room = (_Process * count.value)()
            code = self._library.nvmlDeviceGetComputeRunningProcesses_v3(device, ctypes.byref(count), room)
            if code == 0:
                return list(room[: count.value])
            if code != _TOO_SMALL or len(room) >= _MOST:
                return []
            # It has said how many there were; more may start meanwhile.
            count.value = min(_MOST, 2 * max(count.value, len(room)))


def _opened(name: str) -> ctypes.CDLL | None:
    """The library, None where there is none, or none that is new enough (drivers before 2021)."""
    try:
        library = ctypes.CDLL(name)
        known = hasattr(library, "nvmlDeviceGetComputeRunningProcesses_v3")
        return library if known and library.nvmlInit_v2() == 0 else None
    except (OSError, AttributeError):
        return None
