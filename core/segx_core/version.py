"""Which segx this is. Knows nothing else."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def segx_version() -> str:
    """The installed version; a source tree that was never installed has none."""
    try:
        return version("segx")
    except PackageNotFoundError:
        return "0+source"
