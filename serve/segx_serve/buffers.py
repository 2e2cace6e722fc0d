"""Where batches lie on their way to a device and back: buffers for each size of picture, kept for the next batch.

The least recently used go first, so what mixed sizes may cost is bounded. Knows nothing of threads: its owner uses
one set of buffers from one thread at a time. On a CPU host and device are the same memory and nothing is copied.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segx_serve.cuda import Bytes, Cuda

Shape = tuple[int, int]
# Sizes of picture that one set of buffers is kept for.
_MOST = 8


class Pair:
    """The same bytes on the host and on the device.

    Args:
        keep: what owns the device's memory.
    """

    def __init__(self, host: Bytes, address: int, keep: object) -> None:
        self.host = host
        self.address = address
        self._keep = keep


class Way(Protocol):
    """How bytes get to a device and back."""

    @property
    def device(self) -> str:
        """ONNX Runtime's name of the device."""
        ...

    def pair(self, size: int) -> Pair:
        """`size` bytes on both sides.

        Raises:
            MemoryError: there are no more.
        """
        ...

    def upload(self, pair: Pair, size: int) -> None:
        """Bring the first `size` bytes to the device."""
        ...

    def download(self, pair: Pair, size: int) -> None:
        """Bring the first `size` bytes back."""
        ...


class CpuWay:
    """The device is this machine's own memory."""

    device = "cpu"

    def pair(self, size: int) -> Pair:
        """One block for both sides."""
        host = np.empty(size, np.uint8)
        return Pair(host, host.ctypes.data, host)

    def upload(self, pair: Pair, size: int) -> None:
        """It is there already."""

    def download(self, pair: Pair, size: int) -> None:
        """It is here already."""


class CudaWay:
    """Page-locked memory here, a buffer there, and a stream of its own between them."""

    device = "cuda"

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._stream = cuda.stream()

    def pair(self, size: int) -> Pair:
        """As Way.pair."""
        place = self._cuda.device(size)
        return Pair(self._cuda.pinned(size), place.address, place)

    def upload(self, pair: Pair, size: int) -> None:
        """As Way.upload; finished when it returns, because ONNX Runtime's stream does not wait for this one."""
        self._stream.upload(pair.host[:size], pair.address)

    def download(self, pair: Pair, size: int) -> None:
        """As Way.download."""
        self._stream.download(pair.address, pair.host[:size])


class Buffers:
    """Room for up to `capacity` pictures of one size and their class maps, and a binding of a session to it.

    Args:
        session: the onnxruntime.InferenceSession.
        names: of the picture and of the class map among the graph's inputs and outputs.
        dtype: of the class map.
    """

    def __init__(
        self, session: Any, names: tuple[str, str], way: Way, capacity: int, shape: Shape, dtype: np.dtype[Any]
    ) -> None:
        self.capacity = capacity
        self._way = way
        self._shape = shape
        self._dtype = dtype
        self._names = names
        self._pictures = way.pair(capacity * self._pixels * 3)
        self._maps = way.pair(capacity * self._pixels * dtype.itemsize)
        self._bound = 0
        self.binding = session.io_binding()

    @property
    def size(self) -> int:
        """Bytes on the device."""
        return self._pictures.host.nbytes + self._maps.host.nbytes

    @property
    def _pixels(self) -> int:
        return self._shape[0] * self._shape[1]

    def bind(self, count: int) -> None:
        """Let the binding see `count` pictures. The addresses never change, which replayed graphs rely on."""
        if count == self._bound:
            return
        device = self._way.device
        (image, maps), shape = self._names, [count, *self._shape]
        self.binding.bind_input(image, device, 0, np.uint8, [*shape, 3], self._pictures.address)
        self.binding.bind_output(maps, device, 0, self._dtype.type, shape, self._maps.address)
        self._bound = count

    def clear(self, count: int) -> None:
        """Put `count` black pictures."""
        self.put(np.zeros((count, *self._shape, 3), np.uint8))

    def put(self, batch: NDArray[np.uint8]) -> None:
        """(N, H, W, 3) uint8 to the device; what lies behind it stays whatever it was."""
        room = self._pictures.host[: batch.nbytes]
        np.copyto(room.reshape(batch.shape), batch)
        self._way.upload(self._pictures, batch.nbytes)

    def get(self, count: int) -> NDArray[Any]:
        """(count, H, W) class maps from the device, a copy."""
        size = count * self._pixels * self._dtype.itemsize
        self._way.download(self._maps, size)
        return self._maps.host[:size].view(self._dtype).reshape(count, *self._shape).copy()


class Shelf:
    """Buffers by size of picture, the least recently used given up first.

    Args:
        most_bytes: on the device; one size that needs more is kept alone.
    """

    def __init__(self, most_bytes: int, most: int = _MOST) -> None:
        self._most_bytes = most_bytes
        self._most = most
        self._kept: OrderedDict[Shape, Buffers] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes on the device."""
        return sum(one.size for one in self._kept.values())

    def buffers(self, shape: Shape, count: int, need: int, make: Callable[[], Buffers]) -> Buffers:
        """Buffers for `count` pictures of a size: those that are there, or new ones of `need` bytes.

        Raises:
            MemoryError: there is no memory for them, even with everything else given up.
        """
        found = self._kept.get(shape)
        if found is not None and found.capacity >= count:
            self._kept.move_to_end(shape)
            return found
        found = None  # or its memory would stay
        # Smaller ones of the same size go first: nobody will want them again.
        self._kept.pop(shape, None)
        while self._kept and (len(self._kept) >= self._most or self.size + need > self._most_bytes):
            self._kept.popitem(last=False)
        try:
            made = make()
        except MemoryError:
            self._kept.clear()
            made = None
        if made is None:  # not above, where the error still holds what was half made
            made = make()
        self._kept[shape] = made
        return made
