"""The few calls of NVIDIA's CUDA runtime that batches need on their way to the GPU: memory, streams and copies.

ONNX Runtime's Python interface offers no page-locked memory and no copy that leaves the interpreter free, so the
library that ONNX Runtime has loaded itself is called through ctypes, which does. Knows nothing of models.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import weakref
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from segx_core.errors import SetupError

_TO_DEVICE, _TO_HOST = 1, 2
_NON_BLOCKING = 1
_NO_MEMORY = 2
Bytes = NDArray[np.uint8]


class DeviceMemoryError(MemoryError):
    """The GPU, or what the system lets be page-locked, is full."""


class Cuda:
    """The CUDA runtime that this process uses, on its first GPU. Safe from any thread.

    Args:
        library: the runtime; None looks for the one that ONNX Runtime uses.

    Raises:
        SetupError: it cannot be found.
    """

    def __init__(self, library: ctypes.CDLL | None = None) -> None:
        self._library = library or _library()
        self._library.cudaGetErrorString.restype = ctypes.c_char_p

    def pinned(self, size: int) -> Bytes:
        """(size,) uint8 of page-locked memory, which the GPU copies from and to by itself; freed with the array.

        Raises:
            DeviceMemoryError: there is no more.
        """
        place = ctypes.c_void_p()
        self._call("cudaHostAlloc", ctypes.byref(place), ctypes.c_size_t(size), ctypes.c_uint(0))
        assert place.value is not None
        buffer = (ctypes.c_uint8 * size).from_address(place.value)
        # The array keeps the buffer, and so its memory, for as long as a view of it is left.
        _free_with(buffer, self._library.cudaFreeHost, place)
        return np.frombuffer(memoryview(buffer), np.uint8)

    def device(self, size: int) -> Place:
        """`size` bytes on the GPU, freed with the object.

        Raises:
            DeviceMemoryError: there are no more.
        """
        place = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(place), ctypes.c_size_t(size))
        assert place.value is not None
        found = Place(place.value)
        _free_with(found, self._library.cudaFree, place)
        return found

    def stream(self) -> Stream:
        """A stream of its own; work on it runs beside that on other streams."""
        handle = ctypes.c_void_p()
        self._call("cudaStreamCreateWithFlags", ctypes.byref(handle), ctypes.c_uint(_NON_BLOCKING))
        stream = Stream(self, handle)
        _free_with(stream, self._library.cudaStreamDestroy, handle)
        return stream

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = self._library.cudaGetErrorString(code).decode(errors="replace")
            if code == _NO_MEMORY:
                raise DeviceMemoryError(f"{name}: {text}")
            raise RuntimeError(f"{name}: {text}")


class Place:
    """Bytes on the GPU."""

    def __init__(self, address: int) -> None:
        self.address = address


class Stream:
    """Copies in order, each finished when its call returns; the interpreter is free meanwhile."""

    def __init__(self, cuda: Cuda, handle: ctypes.c_void_p) -> None:
        self._cuda = cuda
        self._handle = handle

    def upload(self, source: Bytes, target: int) -> None:
        """Host bytes to an address on the GPU."""
        self._copy(target, source.ctypes.data, source.nbytes, _TO_DEVICE)

    def download(self, source: int, target: Bytes) -> None:
        """Bytes at an address on the GPU to the host."""
        self._copy(target.ctypes.data, source, target.nbytes, _TO_HOST)

    def _copy(self, target: int, source: int, size: int, way: int) -> None:
        self._cuda._call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(target),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size),
            ctypes.c_int(way),
            self._handle,
        )
        self._cuda._call("cudaStreamSynchronize", self._handle)


def _free_with(owner: Any, free: Any, handle: ctypes.c_void_p) -> None:
    # At the interpreter's end the driver takes everything back by itself, and the library may be gone.
    weakref.finalize(owner, free, handle).atexit = False


def _library() -> ctypes.CDLL:
    version: str = getattr(ort, "cuda_version", "")
    major = version.partition(".")[0]
    if not major:
        raise SetupError("an onnxruntime built for CUDA", "one without it", "pip install onnxruntime-gpu")
    name = f"cudart64_{major}.dll" if sys.platform == "win32" else f"libcudart.so.{major}"
    with contextlib.suppress(OSError):
        return ctypes.CDLL(name)
    # It may lie in site-packages, where the system's loader finds it only once it is loaded.
    with contextlib.redirect_stdout(sys.stderr):
        ort.preload_dlls(cudnn=False)
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise SetupError(f"the CUDA runtime {name}", str(error), "pip install 'segx[cuda]'") from None
