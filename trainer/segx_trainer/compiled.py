"""The forward pass of training, as it stands or compiled. The network, its names and its validation stay plain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from segx_core.errors import SetupError
from segx_trainer.auxiliary import AuxHead
from segx_trainer.networks import SegmentationNet

Forward = Callable[[SegmentationNet, AuxHead | None, Tensor], tuple[Tensor, Tensor | None]]
"""(B, 3, h, w) uint8 -> logits (B, K, h, w), and those of the auxiliary head where there is one."""


def plain(network: SegmentationNet, auxiliary: AuxHead | None, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """A `Forward`, operation by operation."""
    return (network(images), None) if auxiliary is None else auxiliary.both(network, images)


@contextmanager
def chosen(compiling: bool) -> Iterator[Forward]:
    """`plain`, or what torch.compile makes of it at its first call, forgotten afterwards.

    Raises:
        SetupError: on leaving, the compiler failed.
    """
    if not compiling:
        yield plain
        return
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    try:
        yield torch.compile(plain)
    except (TorchDynamoException, CppCompileError, InvalidCxxCompiler) as error:
        raise SetupError(
            "to compile the network with torch.compile",
            " ".join(str(error).split())[:300],
            "On the CPU it needs a C++ compiler such as g++, on a GPU Triton and a C compiler. Install it, or leave "
            "compile out.",
        ) from error
    finally:
        torch.compiler.reset()
