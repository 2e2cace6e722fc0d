"""The service is held against its own document with requests that schemathesis makes up from it, good ones and bad.

No answer may be a failure of the service, or have a status, media type, header or shape that the document does not
tell; good requests must be taken, bad ones refused, and nothing let in without a key. `make contract` tries many more.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

HERE = Path(__file__).parent / "contract"
EXAMPLES = os.environ.get("SEGX_CONTRACT_EXAMPLES", "3")
SEED = os.environ.get("SEGX_CONTRACT_SEED", "1")


def check(address: str, folder: Path, *more: str) -> str:
    """Run schemathesis in a process of its own, since what it registers is global; return what it says."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")]
    chosen = [f"{address}/openapi.json", "--max-examples", EXAMPLES, "--seed", SEED, "--no-color", *more]
    paths = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [*command, "run", *chosen],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2000:]
    return ended.stdout


def test_nothing_is_found_without_keys(kit: SimpleNamespace, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(kit.as_png(kit.picture()))
    running = serve({"grey": kit.Brightness(), "other": kit.Brightness()}, admin=True, sample=tmp_path / "a.png")
    document = running.client.get("/openapi.json").json()
    count = sum(map(len, document["paths"].values())) - 1  # all but the document itself
    said = check(running.url, tmp_path)
    assert re.search(rf"Tested: +{count}\b", said), said
    # Not all was refused: pictures came through, and the protocol's example.
    counted = running.client.get("/metrics").text
    for route in ("/segment", "/v2/models/{model}/infer"):
        assert f'segx_requests_total{{route="{route}",status="200"}}' in counted


def test_nothing_is_found_with_keys(kit: SimpleNamespace, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"ops admin sha256:{hashlib.sha256(b'root').hexdigest()}\n")
    (tmp_path / "keys").chmod(0o600)
    running = serve({"grey": kit.Brightness()}, api_key_file=tmp_path / "keys")
    # The document needs a key as well; it is sent with every request, and left out or spoilt where that is the test.
    check(running.url, tmp_path, "-H", "Authorization: Bearer root")


def test_a_route_that_breaks_its_word_is_found(
    kit: SimpleNamespace, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve({"grey": kit.Brightness()})
    routes = running.app._routes
    monkeypatch.setitem(routes, "/models", routes["/v2/health/live"])
    with pytest.raises(AssertionError, match="Response violates schema"):
        check(running.url, tmp_path, "--include-path", "/models")
