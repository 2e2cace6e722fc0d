"""What machine this is, in words: written beside every measurement, because a figure without its machine means nothing.

Works wherever Python does; what cannot be found out is left out or said to be unknown. Measures nothing.
"""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

from segx_core.cores import cores


def describe() -> dict[str, str]:
    """cpu, cores, os, python, onnxruntime, segx, and gpu where nvidia-smi names one."""
    facts = {
        "cpu": _cpu(),
        "cores": str(cores()),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "onnxruntime": _version("onnxruntime-gpu", "onnxruntime"),
        "segx": _version("segx"),
    }
    gpu = _gpu()
    return facts | {"gpu": gpu} if gpu else facts


def summary() -> str:
    """One line: processor, cores, GPU where there is one, versions."""
    facts = describe()
    gpu = f", {facts['gpu']}" if "gpu" in facts else ""
    plural = "core" if facts["cores"] == "1" else "cores"
    return f"{facts['cpu']}, {facts['cores']} {plural}{gpu}, onnxruntime {facts['onnxruntime']}, {facts['os']}"


def _cpu() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model") and value.strip():
                return " ".join(value.split())
    if sys.platform == "darwin":
        name = _said(["sysctl", "-n", "machdep.cpu.brand_string"])
        if name:
            return name
    return platform.processor() or platform.machine() or "unknown"


def _gpu() -> str:
    lines = _said(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]).splitlines()
    return "; ".join(line.strip() for line in lines if line.strip())


def _said(command: list[str]) -> str:
    """What a program prints, stripped; nothing where it is absent or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _version(*names: str) -> str:
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"
