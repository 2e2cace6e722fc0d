"""What a stranger does: a fresh clone, a fresh environment, `make demo`, `make test`; each timed.

    python bench/setup/run.py

Clones the repository this file stands in (the last commit), so commit first. Writes results.json beside this file.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from segx_core import machine

HERE = Path(__file__).resolve().parent
HELP_RUNS = 10


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="segx-clone-"))
    clone = folder / "segx"
    try:
        subprocess.run(["git", "clone", "--quiet", str(HERE.parents[1]), str(clone)], check=True)
        install = timed(clone, "make", "install")
        demo = timed(clone, "make", "demo")
        scores = {split: json.loads((clone / "segx-demo" / f"{split}.json").read_text()) for split in ("val", "test")}
        help_ms = [1e3 * timed(clone, ".venv/bin/segx", "--help") for _ in range(HELP_RUNS)]
        install_dev = timed(clone, "make", "install-dev")
        test = timed(clone, "make", "test")
    finally:
        shutil.rmtree(folder)
    document = {
        "machine": machine.describe(),
        "seconds": {
            "install": round(install + install_dev),
            "make demo after installation": round(demo),
            "make test after installation": round(test),
        },
        "help_ms": {"median": round(statistics.median(help_ms)), "largest": round(max(help_ms)), "runs": HELP_RUNS},
        "demo": {
            split: {result["model"]: result["miou"] for result in score["results"]} for split, score in scores.items()
        },
    }
    (HERE / "results.json").write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))


def timed(folder: Path, *command: str) -> float:
    """Seconds a command took; stop where it fails."""
    began = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL if command[-1] == "--help" else None)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
