"""ONNX Runtime, asked for honestly: which execution provider really loads, and sessions built as a card wants them.

ONNX Runtime falls back to the CPU without a word when CUDA cannot be loaded; here a provider that was asked for by name
and does not load is an error with a cure, and `auto` takes the first one of the card's list that proves itself on a
small graph. Knows nothing of pictures or classes.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

from segx_core.card import Session
from segx_core.cores import cores
from segx_core.errors import ConfigError, ModelError, SetupError, near

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
SHORT = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}
"""The names users type, and ONNX Runtime's."""
ProviderOptions = Mapping[str, Mapping[str, str]]
"""Options of providers by their full names, in ONNX Runtime's words."""

_LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "layout": ort.GraphOptimizationLevel.ORT_ENABLE_LAYOUT,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
# y = x + x on one float: the smallest graph that makes a provider run a kernel of its own.
_TRIAL = bytes.fromhex(
    "080712003a350a0e0a01780a017812017922034164641201705a0f0a0178120a0a08080112040a020801620f0a0179120a0a0808"
    "0112040a02080142040a00100d"
)
_INSTALL = "Install the NVIDIA driver, then: pip install 'segx[cuda]'."


def resolve_provider(requested: str, meant: tuple[str, ...] = ("cuda", "cpu")) -> list[str]:
    """The ONNX Runtime providers to build a session with, best first; the first one is the one in charge.

    Args:
        requested: "auto", "cpu", "cuda", "tensorrt", or a full name of ONNX Runtime's.
        meant: what the card says the file is meant for, best first; `auto` tries them in this order.

    Returns:
        Full names. The first has run a kernel on this machine; those after it take the nodes it lacks.

    Raises:
        ConfigError: no such provider.
        SetupError: a provider asked for by name does not load; says why and what to do.
    """
    if requested == "auto":
        for name in meant:
            chain = _chain(SHORT[name])
            if trouble(chain[0]) is None:
                return chain
        return [CPU]
    full = SHORT.get(requested, requested)
    if full not in ort.get_all_providers():
        raise ConfigError("a provider", f"'{requested}'", near(requested, ["auto", *SHORT]))
    problem = trouble(full)
    if problem is None:
        return _chain(full)
    reason, cure = problem
    clash = conflict() if full in (CUDA, TENSORRT) else None
    if clash:
        reason, cure = f"{reason}, and {clash[0]}", f"First: {clash[1]} {cure}"
    raise SetupError(f"the provider '{requested}' to load", reason, cure)


@functools.cache  # A machine's libraries do not change while a process runs, and CUDA takes a second to load.
def trouble(provider: str) -> tuple[str, str] | None:
    """What keeps a provider from running here, and the cure; None where it has just run a kernel.

    Args:
        provider: full name, for example "CUDAExecutionProvider".
    """
    if provider == CPU:
        return None
    if provider not in ort.get_available_providers():
        cure = _INSTALL if provider in (CUDA, TENSORRT) else "Install the onnxruntime build that has it."
        return f"an onnxruntime built without it (it has {', '.join(ort.get_available_providers())})", cure
    if provider in (CUDA, TENSORRT):
        if not _has_driver():
            return "a machine without an NVIDIA driver", f"{_INSTALL} Or use --provider cpu."
        # The libraries may lie in site-packages (segx[cuda], torch), where the system's loader does not look.
        with contextlib.redirect_stdout(sys.stderr):
            ort.preload_dlls()
    try:
        session = ort.InferenceSession(_TRIAL, _quiet(), providers=_chain(provider), enable_fallback=0)
        if session.get_providers()[0] == provider:
            session.run(None, {"x": np.ones(1, dtype=np.float32)})
            return None
        reason = "libraries that do not load (ONNX Runtime says which above)"
    # Providers raise whatever their libraries do; all of it means the same here, and the reason is passed on.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split())[:300]
    return reason, f"{_INSTALL} Its CUDA and cuDNN must be of the version that this onnxruntime was built for."


def conflict() -> tuple[str, str] | None:
    """Two builds of ONNX Runtime in one environment: each overwrites the other's files. (what was found, the cure)."""
    names = [name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    if len(names) < 2:
        return None
    return (
        "both onnxruntime and onnxruntime-gpu installed, each overwriting the other's files",
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu "
        "(it runs on the CPU too; install onnxruntime instead on macOS and Arm).",
    )


def open_session(
    path: Path,
    wish: Session,
    providers: list[str],
    threads: int | None = None,
    spinning: bool = False,
    provider_options: ProviderOptions | None = None,
) -> ort.InferenceSession:
    """A session for an ONNX file, as its card wants it.

    Args:
        path: the file.
        wish: the card's session options.
        providers: from `resolve_provider`.
        threads: threads inside one operator; None for every core this process may use.
        spinning: whether idle threads spin for work. Some per cent faster for one stream on an otherwise idle
            machine, at the price of whole cores; off for servers.
        provider_options: options by full provider name; those of providers that are not asked for are left out.

    Raises:
        ModelError: ONNX Runtime refuses the file.
        SetupError: the provider that is to be in charge was not taken for this file.
    """
    options = _quiet()
    options.intra_op_num_threads = threads if threads is not None else cores()
    options.inter_op_num_threads = 1
    options.graph_optimization_level = _LEVELS[wish.optimization]
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    try:
        for key, value in wish.config.items():
            options.add_session_config_entry(key, value)
        known = provider_options or {}
        chosen = [(name, dict(known.get(name, {}))) for name in providers]
        session = ort.InferenceSession(str(path), options, providers=chosen, enable_fallback=0)
    # ONNX Runtime's exceptions share no base below Exception.
    except Exception as error:
        raise ModelError(
            f"an ONNX file that ONNX Runtime {ort.__version__} can load at {path}",
            " ".join(str(error).split())[:500],
            "Export it again, or upgrade onnxruntime if the file is newer than it.",
        ) from error
    if session.get_providers()[0] != providers[0]:
        raise SetupError(
            f"{providers[0]} to take {path}",
            f"a session on {', '.join(session.get_providers())}",
            "Use --provider cpu.",
        )
    return session


def _chain(provider: str) -> list[str]:
    match provider:
        case "CPUExecutionProvider":
            return [CPU]
        case "TensorrtExecutionProvider":
            return [TENSORRT, CUDA, CPU]
        case _:
            return [provider, CPU]


def _quiet() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors; a warning for every node left to the CPU helps nobody
    return options


def _installed(name: str) -> bool:
    return any(True for _ in importlib.metadata.distributions(name=name))


def _has_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
