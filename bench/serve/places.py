"""Where the bench finds what it needs: environments, models, pictures, logs. All from the environment, all overridable.

Standard library only, because the peers' servers import it from their own environments.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PICTURES_OF = {"real": "img", "real256": "mid", "tiny": "small", "sim": "small"}
"""What the request pictures of a workload are called: 640x480, 256x256, 64x64, 64x64."""


def venvs() -> Path:
    """The folder with one environment per peer."""
    return Path(os.environ.get("BENCH_VENVS", "~/.cache/segx-bench")).expanduser()


def assets() -> Path:
    """The folder with `float/`, `segx/` (models) and `pictures/`."""
    return Path(os.environ.get("BENCH_MODELS", "~/.cache/segx-bench/models")).expanduser()


def logs() -> Path:
    """The folder that servers write their output to; made where absent."""
    folder = Path(os.environ.get("BENCH_LOGS", "~/.cache/segx-bench/logs")).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def python_of(venv: str) -> str:
    """The interpreter of one peer's environment."""
    return str(venvs() / venv / "bin" / "python")


def segx_python() -> str:
    """The interpreter that segx runs in."""
    return os.environ.get("BENCH_SEGX_PYTHON", sys.executable)


def network_of(workload: str) -> str:
    """The model file's stem that a workload runs."""
    return "real" if workload == "real256" else workload


def float_model(workload: str) -> Path:
    """The float NCHW file that the peers run."""
    return assets() / "float" / f"{network_of(workload)}.onnx"


def twin(workload: str) -> Path:
    """The uint8 NHWC file with a card that segx runs."""
    return assets() / "segx" / f"{network_of(workload)}.onnx"


def pictures(workload: str) -> list[Path]:
    """The JPEGs that are sent.

    Raises:
        SystemExit: there are none.
    """
    found = sorted((assets() / "pictures").glob(f"{PICTURES_OF[workload]}_*.jpg"))
    if not found:
        sys.exit(f"No pictures in {assets() / 'pictures'}. Run: python -m bench.serve.make_models --from FOLDER")
    return found
