"""`segx data`: looking at good and bad folders through the command."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path / "cache"))


def test_good_data(kit: SimpleNamespace, pictures: Path, tmp_path: Path) -> None:
    numbers = tmp_path / "check.json"
    done = kit.call("data", "check", pictures, "--json", numbers)
    assert done.code == 0, done
    for word in ("layout images+masks", "foreground", "train 13, val 3", "Jensen-Shannon", "█"):
        assert word in done.out
    found = json.loads(numbers.read_text())
    assert found["usable"]
    assert sum(found["splits"]["train"]["class_pixels"].values()) == 13 * 64 * 80
    assert found["splits"]["val"]["class_pictures"] == {"background": 3, "foreground": 3}


def test_bad_data(kit: SimpleNamespace, tmp_path: Path) -> None:
    root, numbers = kit.draw(tmp_path / "bad", 6), tmp_path / "check.json"
    for name in ("p01", "p04"):
        (root / "images" / f"{name}.png").write_bytes(b"none")
    done = kit.call("data", "check", root, "--json", numbers)
    assert "2 errors, the first: A picture cannot be read" in done.refused()
    assert done.out.count("error: A picture cannot be read") == 2
    found = json.loads(numbers.read_text())
    assert not found["usable"]
    assert {Path(one["files"][0]).stem for one in found["findings"] if one["level"] == "error"} == {"p01", "p04"}
    (root / "images" / "p04.png").write_bytes((root / "images" / "p05.png").read_bytes())
    message = kit.call("data", "check", root).refused()
    assert "1 error: A picture cannot be read" in message
    assert "others" not in message


def test_what_cannot_be_opened(kit: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    numbers = tmp_path / "check.json"
    message = kit.call("data", "check", tmp_path / "empty", "--json", numbers).refused()
    assert "an empty folder" in message
    assert json.loads(numbers.read_text())["findings"][0]["kind"] == "layout"


def test_a_sheet(kit: SimpleNamespace, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheets" / "some.png"
    done = kit.call("data", "show", pictures, "--out", out, "--split", "val", "--class", "foreground")
    assert done.code == 0, done
    with Image.open(out) as shown:
        assert shown.width > 1200
    assert "Did you mean 'val'" in kit.call("data", "show", pictures, "--split", "vall").refused()


def test_a_sheet_of_augmented_pictures(kit: SimpleNamespace, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "augmented.png"
    done = kit.call("data", "show", pictures, "--out", out, "--count", "3", "--augment", "light")
    assert done.code == 0, done
    assert "scale: [0.6, 1.8]" in done.out
    with Image.open(out) as shown:
        assert shown.width > 1200
    assert "--split train" in kit.call("data", "show", pictures, "--augment", "light", "--split", "val").refused()
    assert "no --class" in kit.call("data", "show", pictures, "--augment", "light", "--class", "foreground").refused()
    assert "'strong'" in kit.call("data", "show", pictures, "--augment", "strung").refused()
