"""`segx models` and `segx tune`, through the command."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace


def test_the_list_and_its_numbers(kit: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    done = kit.call("models", "fpn", "lite0", "--size", "64x96", "--json", path)
    assert done.code == 0, done
    assert "--model auto:small stands for fpn with efficientnet_lite0, decoder_channels 128" in done.err
    found = json.loads(path.read_text())
    assert found["size"] == [64, 96]
    assert [(one["budget"], one["encoder"]) for one in found["models"]] == [
        ("auto:small", "efficientnet_lite0"),
        ("", "efficientnet_lite0"),
    ]
    for one in found["models"]:
        assert f"{one['parameters'] / 1e6:.1f}" in done.err
        assert one["weights"]["licence"] == "apache-2.0"


def test_what_is_refused(kit: SimpleNamespace, tmp_path: Path) -> None:
    assert "Did you mean" in kit.call("models", "resnet81").refused()
    assert "HxW" in kit.call("models", "fpn", "--size", "64").refused()
    assert "HxW" in kit.call("models", "fpn", "--size", "8x8").refused()
    space = tmp_path / "space.yaml"
    space.write_text("lrr: [1e-3]\n")
    message = kit.call("tune", "scenes", "--out", tmp_path / "search", "--space", space).refused()
    assert "Did you mean 'lr'" in message
