"""OpenCV, imported with a message that helps where a system library is missing. `from segx_core.cv import cv2`."""

from __future__ import annotations

from segx_core.errors import SetupError

try:
    import cv2
except ImportError as error:
    raise SetupError(
        "OpenCV to load",
        f"'{error}'",
        "On Debian or Ubuntu: apt-get install libgl1 libglib2.0-0. In a container or on a server without a screen: "
        "pip uninstall -y opencv-python && pip install opencv-python-headless.",
    ) from error

__all__ = ["cv2"]
