"""A model on a GPU: batches go there and come back through buffers that are there already, two batches at a time.

With ONNX Runtime's own copies every batch would get new memory on both sides, and its copies could not overlap with
anything, because memory that is not page-locked is copied by the processor. Knows nothing of queues and requests.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from segx_core.card import Card
from segx_core.predictor import Predictor
from segx_core.runner import ClassMap, Tensor, UInt8
from segx_serve.buffers import Buffers, Shape, Shelf, Way
from segx_serve.graphs import Graphs

# Bytes on the device, and as many page-locked on the host, that one set of buffers may keep.
_MOST_BYTES = 2**29


class Slot:
    """What one batch on its way needs for itself: a way with its own stream, and buffers by size of picture.

    Args:
        number: which one it is.
    """

    def __init__(self, number: int, way: Way, most_bytes: int) -> None:
        self.number = number
        self.way = way
        self.shelf = Shelf(most_bytes)


class DeviceRunner:
    """A Runner around a Predictor that holds the buffers itself.

    Two batches are inside at once where two threads call `run`: each thread's copies go over a stream of its own,
    and ONNX Runtime gives each of two runs at a time a stream of its own too, so that one batch is copied while the
    other is computed. That needs no events between streams and nothing of the caller but a second thread; the
    interpreter is free during copies and runs. A binding's own `synchronize_inputs` is not called: it waits for the
    whole device, the other batch included.

    Pictures of one batch have one size, and batches of different sizes never share buffers, so a class map is what
    Predictor.run gives (on a GPU, as far as its kernels give the same for every batch size). Files whose pictures
    or class maps need work outside the graph go to the Predictor itself.

    Args:
        predictor: the model.
        ways: one for each batch that may be inside at once.
        max_batch: most pictures expected together; buffers are made for powers of two up to it.
        graphs: recorded runs for some sizes.
        most_bytes: on the device, for the buffers of each way.
    """

    def __init__(
        self,
        predictor: Predictor,
        ways: Sequence[Way],
        max_batch: int,
        graphs: Graphs | None = None,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self.predictor = predictor
        self._max_batch = max_batch
        self._graphs = graphs
        self._most_bytes = most_bytes
        # The last one given back is the next one taken, so a second set of buffers is made only where it is needed.
        self._slots: queue.LifoQueue[Slot] = queue.LifoQueue()
        for number, way in reversed(list(enumerate(ways))):
            self._slots.put(Slot(number, way, most_bytes))

    @property
    def card(self) -> Card:
        """The model's card."""
        return self.predictor.card

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider in charge."""
        return self.predictor.provider

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self.predictor.size_bytes

    def describe(self) -> str:
        """One line for logs and people."""
        graphs = f", {self._graphs.describe()}" if self._graphs else ""
        return self.predictor.describe() + graphs

    def infer(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As Predictor.infer."""
        return self.predictor.infer(feeds)

    def run(self, batch: UInt8) -> ClassMap:
        """As Predictor.run; from any thread.

        Raises:
            SegxError: as Predictor.run.
            MemoryError: no room for the batch on the device, or page-locked on the host.
        """
        if not _usual(batch) or not self.predictor.takes(*batch.shape[1:3]):
            return self.predictor.run(batch)
        slot = self._slots.get()
        try:
            return self._run(slot, batch)
        finally:
            self._slots.put(slot)

    def _run(self, slot: Slot, batch: UInt8) -> ClassMap:
        count, height, width = batch.shape[:3]
        recorded = self._graphs.find(slot.number, (height, width), count) if self._graphs else None
        work: Callable[[], None]
        if recorded is not None:
            buffers, work = recorded.buffers, recorded.replay
        else:
            buffers = self._buffers(slot, (height, width), count)
            # Exactly as many as there are: nothing is computed for room that stays empty.
            buffers.bind(count)
            work = partial(self.predictor.session.run_with_iobinding, buffers.binding)
        buffers.put(batch)
        try:
            work()
        # ONNX Runtime's exceptions share no base below Exception.
        except Exception as error:
            raise self.predictor.failure({self.card.image.name: batch}, error) from error
        maps: Any = buffers.get(count)
        return self.predictor.as_indices(maps)

    def _buffers(self, slot: Slot, shape: Shape, count: int) -> Buffers:
        dtype = self.predictor.prediction_dtype
        capacity = rounded(count, self._max_batch)
        need = capacity * shape[0] * shape[1] * (3 + dtype.itemsize)
        if need > self._most_bytes // 2:
            # Large pictures: room for those that are there, and none to spare.
            capacity, need = count, need * count // capacity
        names = (self.card.image.name, self.card.prediction.name)
        make = partial(Buffers, self.predictor.session, names, slot.way, capacity, shape, dtype)
        return slot.shelf.buffers(shape, count, need, make)


def _usual(batch: UInt8) -> bool:
    """Whether it is what `run` asks for; where it is not, the Predictor says so."""
    usual = isinstance(batch, np.ndarray) and batch.dtype == np.uint8 and batch.ndim == 4
    return usual and batch.shape[3] == 3 and batch.size > 0


def rounded(count: int, most: int) -> int:
    """The next power of two, but no more than `most` where `count` is not."""
    power = 1 << (count - 1).bit_length()
    return power if power <= most else max(count, most)


def batch_sizes(most: int) -> list[int]:
    """Every size that `rounded` gives for batches of up to `most`."""
    return sorted({rounded(count, most) for count in range(1, most + 1)})
