"""Holds torch to operations that give the same bits every time, for as long as one run lasts.

On the CPU they all do, whatever is set here; a GPU adds up in another order each time unless told not to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segx_core.errors import ConfigError

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within: deterministic algorithms only, if `wanted`; afterwards everything as before.

    cuBLAS reads its setting when a process first uses it: one that has done so before keeps what it had then, and
    torch refuses to go on where that was not deterministic.

    Raises:
        ConfigError: an operation of the network or the loss has no deterministic form on this device.
    """
    if not wanted:
        yield
        return
    cudnn = torch.backends.cudnn
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    chosen = (cudnn.deterministic, cudnn.benchmark)
    workspace = os.environ.get(_WORKSPACE)
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    try:
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic, cudnn.benchmark = True, False
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise ConfigError(
            "operations with a deterministic form on this device", str(error).split(". ")[0],
            "Choose another loss or network, train on the CPU, or leave deterministic out.",
        ) from error  # fmt: skip
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark = chosen
        if workspace is None:
            del os.environ[_WORKSPACE]
