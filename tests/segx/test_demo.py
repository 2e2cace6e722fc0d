"""The pieces of the demo that need no minutes of training: its folder, its service, its page."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest

from segx.demo import MARK, _ask_service, _make_folder, _service, demo_config
from segx.demo_page import write_page
from segx_core.datasets import open_dataset
from segx_core.errors import ConfigError, SetupError
from segx_evaluate.run import evaluate_many


def test_it_trains_on_generated_pictures_without_any_download() -> None:
    config = demo_config()
    assert (config.data, config.encoder_weights) == ("scenes", "none")


def test_its_folder_is_made_anew_but_no_other_is_touched(tmp_path: Path) -> None:
    _make_folder(tmp_path / "demo")
    (tmp_path / "demo" / "old").touch()
    _make_folder(tmp_path / "demo")
    assert [path.name for path in (tmp_path / "demo").iterdir()] == [MARK]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="other files"):
        _make_folder(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()
    with pytest.raises(SetupError, match="--out"):
        _make_folder(tmp_path / "mine" / "thesis.tex" / "demo")
    with pytest.raises(SetupError, match="--out"):
        _make_folder(tmp_path / "mine" / "thesis.tex")


def test_the_service_answers_with_the_bytes_of_predict(
    exported: Any, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # not asked for what this machine serves itself
    monkeypatch.setattr(urllib.request, "_opener", None)
    reply = _ask_service(exported.int8, open_dataset(pictures))
    assert reply.same_as_predict
    assert reply.milliseconds > 0


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"gone\.onnx"), _service(tmp_path / "gone.onnx"):
        pass


def test_the_page_holds_everything_it_shows(exported: Any, pictures: Path, tmp_path: Path) -> None:
    data = open_dataset(pictures)
    files = [exported.fp32, exported.int8]
    results = evaluate_many(files, data, "val", provider="cpu")
    page = write_page(tmp_path, data, files, results, results, 12.4, True).read_text(encoding="utf-8")
    assert page.count("<img") == 3 * 4 + 1  # picture, truth and both files for each of three pictures; the curves
    assert 'src="http' not in page
    assert "href=" not in page
    assert "12 ms over HTTP; its PNG is byte for byte" in page
    for result in results:
        assert f"{result.miou:.4f}" in page
    for name in (*data.classes, "model.fp32.onnx", "model.int8.onnx"):
        assert name in page
    assert "$" not in page.partition("<body")[0].split("</style>")[1]
