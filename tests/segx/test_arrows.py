"""The folders' promises, read off the source: who may import whom, who may not import torch, how long files may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "segx": "segx",
    "segx_core": "core/segx_core",
    "segx_trainer": "trainer/segx_trainer",
    "segx_export": "export/segx_export",
    "segx_serve": "serve/segx_serve",
    "segx_evaluate": "evaluate/segx_evaluate",
}
MAY_IMPORT = {
    "segx": set(FOLDERS),
    "segx_core": {"segx_core"},
    "segx_trainer": {"segx_trainer", "segx_core"},
    "segx_export": {"segx_export", "segx_trainer", "segx_core"},
    "segx_serve": {"segx_serve", "segx_core"},
    "segx_evaluate": {"segx_evaluate", "segx_core"},
}
WITHOUT_TRAINING = ("segx_core", "segx_serve", "segx_evaluate")
TRAINING_ONLY = {"torch", "torchvision", "timm", "segmentation_models_pytorch", "onnx", "onnxscript", "matplotlib"}
LONGEST = 350


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / FOLDERS[package]).rglob("*.py"))
    assert found, package
    return found


def imports(path: Path) -> Iterator[str]:
    """Top-level names of everything a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{path} imports relatively"
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", FOLDERS)
def test_arrows_point_one_way(package: str) -> None:
    for path in sources(package):
        wrong = (set(imports(path)) & set(FOLDERS)) - MAY_IMPORT[package]
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("package", WITHOUT_TRAINING)
def test_serving_and_evaluating_need_no_training_library(package: str) -> None:
    for path in sources(package):
        wrong = set(imports(path)) & TRAINING_ONLY
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_files_stay_short_and_say_what_they_do() -> None:
    for package in FOLDERS:
        for path in sources(package):
            text = path.read_text(encoding="utf-8")
            assert len(text.splitlines()) <= LONGEST, path
            assert ast.get_docstring(ast.parse(text)), f"{path} opens without a docstring"
