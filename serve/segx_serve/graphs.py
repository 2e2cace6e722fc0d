"""Runs on a GPU that are recorded once and replayed: a hundred kernels for the price of launching one (CUDA graphs).

For sizes of picture named beforehand only: a recording holds its shapes and addresses fast and memory with them.
A batch is filled up to the next recorded number of pictures; what the empty places give is left out.

While ONNX Runtime records, no thread of the process may ask the GPU for memory; it keeps recordings by thread, and
wants one run at a time in a session that records. So a session of its own is used for nothing else, by one thread,
and everything is recorded before the first request; the model's weights are on the GPU twice then.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime as ort

from segx_serve.buffers import Buffers, Shape, Way


class Recorded:
    """One recorded run.

    Args:
        thread: the only one that runs the session.
        number: ONNX Runtime's key of the recording.
    """

    def __init__(self, session: Any, thread: ThreadPoolExecutor, buffers: Buffers, count: int, number: int) -> None:
        self.buffers = buffers
        self.count = count
        self._session = session
        self._thread = thread
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(number))

    def replay(self) -> None:
        """Run on what the buffers hold; recorded the first time."""
        self._thread.submit(self._run).result()

    def _run(self) -> None:
        self.buffers.bind(self.count)
        self._session.run_with_iobinding(self.buffers.binding, self._options)


class Graphs:
    """The recorded runs of one model: for each way, size of picture and number of pictures one.

    Args:
        session: an onnxruntime.InferenceSession with graphs enabled that nobody else uses.
        names: of the picture and of the class map among the graph's inputs and outputs.
        ways: as DeviceRunner's.
        shapes: (height, width) of the pictures.
        counts: numbers of pictures, ascending.
        dtype: of the class map.

    Raises:
        MemoryError: no room for the buffers.
        Exception: ONNX Runtime's, where the graph cannot be recorded.
    """

    def __init__(
        self,
        session: Any,
        names: tuple[str, str],
        ways: Sequence[Way],
        shapes: Sequence[Shape],
        counts: Sequence[int],
        dtype: np.dtype[Any],
    ) -> None:
        self._counts = list(counts)
        self._shapes = list(shapes)
        self._recorded: dict[tuple[int, Shape, int], Recorded] = {}
        thread = ThreadPoolExecutor(1, thread_name_prefix="segx-graphs")
        for way_number, way in enumerate(ways):
            for shape in shapes:
                # Numbers of pictures share one set of buffers: only one batch of a way is under way.
                buffers = Buffers(session, names, way, self._counts[-1], shape, dtype)
                for count in self._counts:
                    number = len(self._recorded) + 1
                    self._recorded[way_number, shape, count] = Recorded(session, thread, buffers, count, number)
        # The largest first: its memory then serves the others.
        for recorded in sorted(self._recorded.values(), key=lambda one: -one.count):
            recorded.buffers.clear(recorded.count)
            recorded.replay()
            recorded.replay()

    def find(self, way: int, shape: Shape, count: int) -> Recorded | None:
        """The smallest recorded run that `count` pictures fit in."""
        fitting = next((number for number in self._counts if number >= count), None)
        return None if fitting is None else self._recorded.get((way, shape, fitting))

    def describe(self) -> str:
        """What is recorded, for people."""
        shapes = ", ".join(f"{height}x{width}" for height, width in self._shapes)
        return f"recorded for {shapes} in batches of {', '.join(map(str, self._counts))}"
