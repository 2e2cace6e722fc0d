"""Keeps image libraries from writing to stderr on their own account: what hostile pictures make them say is no log.

It would be in nobody's format, as long as a client pleases, and would block its thread where nobody reads stderr.
"""

from __future__ import annotations

import ctypes
import logging

from PIL import _imaging


def silence_decoders() -> None:
    """Called once at the start of a process that decodes what strangers send."""
    # Pillow raises what it cannot read; what it says besides is for its developers.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # libtiff prints from C. It is found through the extension module that is linked with it; one built into the
    # module itself, as on some systems, shows no such name and is left as it is.
    library = ctypes.CDLL(_imaging.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        silence = getattr(library, name, None)
        if silence is not None:
            silence.restype, silence.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
            silence(None)
