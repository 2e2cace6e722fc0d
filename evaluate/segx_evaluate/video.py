"""One video file in, the same film with the classes laid over it out. Sound is left out.

Frames go through the same predict as pictures, one by one: nothing is smoothed over time. Knows nothing of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segx_core.atomic import replacing
from segx_core.cv import cv2
from segx_core.errors import PictureError, SetupError
from segx_core.meaning import Indices, Meaning
from segx_core.progress import track
from segx_core.runner import ClassMap, UInt8

_USUAL_RATE = 25.0  # frames per second where the file does not say


def overlay_video(
    predict: Callable[[UInt8], ClassMap],
    source: Path,
    target: Path,
    palette: tuple[tuple[int, int, int], ...],
    opacity: float = 0.5,
    meaning: Meaning = Indices(),  # noqa: B008  it holds nothing
) -> int:
    """Write `source` with overlays to `target` (MPEG-4 in .mp4). On Ctrl-C the frames so far are kept as a whole film.

    Args:
        predict: (H, W, 3) uint8 RGB -> (H, W) map.
        source: any video that OpenCV reads.
        target: where to, ending in .mp4.
        palette: RGB of each class.
        opacity: of the colours, 0..1.
        meaning: reads the maps.

    Returns:
        How many frames were written.

    Raises:
        PictureError: the file cannot be read as a video.
        SetupError: it cannot be written.
    """
    capture = cv2.VideoCapture(str(source))
    try:
        if not capture.isOpened():
            raise _unreadable(source)
        rate = capture.get(cv2.CAP_PROP_FPS)
        told = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        frames = track(_frames(capture), source.name, total=told if told > 0 else None, unit="frames")
        with replacing(target) as temporary:
            film = _Film(temporary, rate if rate > 0 else _USUAL_RATE)
            stopped: KeyboardInterrupt | None = None
            try:
                for frame in frames:
                    film.add(meaning.overlay(frame, predict(frame), palette, opacity))
            except KeyboardInterrupt as interrupt:
                stopped = interrupt
            finally:
                film.close()
            if not film.frames:
                raise stopped or _unreadable(source)
        if stopped:
            raise stopped
        return film.frames
    finally:
        capture.release()


class _Film:
    """The file being written; it opens with the first frame, which says how large all are."""

    def __init__(self, path: Path, rate: float) -> None:
        self.frames = 0
        self._path = path
        self._rate = rate
        self._writer: Any = None

    def add(self, rgb: UInt8) -> None:
        """(H, W, 3) uint8 RGB, all of one size."""
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate, (rgb.shape[1], rgb.shape[0]))
            if not self._writer.isOpened():
                raise SetupError(
                    f"to write a video in {self._path.parent}",
                    "OpenCV could not open one",
                    "Check the folder's permissions, the free space, and that this OpenCV has its video writers.",
                )
        self._writer.write(np.ascontiguousarray(rgb[..., ::-1]))
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


def _frames(capture: Any) -> Iterator[UInt8]:
    while True:
        good, frame = capture.read()
        if not good:
            return
        yield np.ascontiguousarray(frame[..., ::-1])


def _unreadable(source: Path) -> PictureError:
    return PictureError(
        "a video that OpenCV can read",
        f"{source}, which has no readable frame",
        "Play it, or convert it: ffmpeg -i INPUT -c:v libx264 OUTPUT.mp4",
    )
