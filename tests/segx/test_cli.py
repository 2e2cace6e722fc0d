"""What the command refuses: exit 2 with one clear message, and what it can do without the training libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime as ort
import pytest
from PIL import Image


def test_version_help_and_nothing(kit: SimpleNamespace) -> None:
    assert kit.call("--version").out == "segx 0.1.0\n"
    assert "quantize" in kit.call("export", "--help").out
    assert "Usage" in kit.call().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--loss", "ce + 0.5*dise"), "Did you mean 'dice'?"),
        (("--encoder", "resnet81"), "Did you mean 'resnet18'?"),
        (("--set", "decoder_chanels=64"), "Did you mean 'decoder_channels'?"),
        (("--set", "lr"), "--set key=value"),
        (("--lr", "-1"), "'lr'"),
        (("--size", "big"), "'size'"),
        (("--epochs", "3", "--steps", "3"), "not both"),
        (("--until", "accuracy=0.5"), "--until miou=FRACTION"),
        (("--resume",), "Leave --resume out"),
    ],
)
def test_options_that_mean_nothing(
    kit: SimpleNamespace, pictures: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    small = () if "--resume" in options else kit.tiny
    assert words in kit.call("train", pictures, "--out", tmp_path / "run", *small, *options).refused()


def test_words_the_command_does_not_know(kit: SimpleNamespace) -> None:
    for arguments, word in ((("train", "scenes", "--out", "x", "--epoch", "3"), "--epochs"), (("trian",), "train")):
        done = kit.call(*arguments)
        assert done.code == 2
        assert word in done.err
        assert "Traceback" not in done.err


def empty(root: Path) -> str:
    root.mkdir()
    return "an empty folder"


def bare_picture(root: Path) -> str:
    _folder(root)
    (root / "masks" / "p01.png").unlink()
    return "1 pictures of"


def unknown_label(root: Path) -> str:
    _folder(root)
    mask = Image.new("L", (80, 64))
    mask.putpixel((3, 2), 7)
    mask.save(root / "masks" / "p01.png")
    (root / "dataset.yaml").write_text("classes: [a, b]\nmasks: {encoding: index}\n")
    return "7 on 1 pixels of"


def truncated_jpeg(root: Path) -> str:
    _folder(root, ".jpg")
    path = root / "images" / "p01.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    return "p01.jpg"


def mistyped_key(root: Path) -> str:
    _folder(root)
    (root / "dataset.yaml").write_text("clases: [a, b]\n")
    return "Did you mean 'classes'?"


def _folder(root: Path, suffix: str = ".png") -> None:
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for index in range(4):
        Image.effect_noise((80, 64), 60).convert("RGB").save(root / "images" / f"p{index:02}{suffix}")
        mask = Image.new("L", (80, 64))
        mask.paste(1, (0, 0, 40, 64))
        mask.save(root / "masks" / f"p{index:02}.png")


@pytest.mark.parametrize("spoil", [empty, bare_picture, unknown_label, truncated_jpeg, mistyped_key])
def test_data_that_cannot_be_used(kit: SimpleNamespace, tmp_path: Path, spoil: Any) -> None:
    words = spoil(tmp_path / "data")
    message = kit.call("train", tmp_path / "data", "--out", tmp_path / "run", *kit.tiny, "--epochs", "1").refused()
    assert words in message


def test_a_run_folder_below_a_file(kit: SimpleNamespace, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert "--out" in kit.call("train", pictures, "--out", tmp_path / "file" / "run", *kit.tiny).refused()


def test_files_that_are_not_there(kit: SimpleNamespace, tmp_path: Path, pictures: Path) -> None:
    gone = tmp_path / "gone.onnx"
    for verb in (("eval", gone, "--data", pictures), ("serve", gone, "--port", "0"), ("predict", gone, pictures)):
        out = ("--out", tmp_path / "out") if verb[0] == "predict" else ()
        assert "gone.onnx" in kit.call(*verb, *out).refused()
    assert "no such folder" in kit.call("export", tmp_path / "no-run").refused()
    assert "no such path" in kit.call("train", tmp_path / "no-data", "--out", tmp_path / "run").refused()


def test_models_and_cards_that_do_not_fit(kit: SimpleNamespace, exported: Any, pictures: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.yaml"
    card.write_text("input: {nam: x}\noutput: {name: y}\nclasses: [a, b]\n")
    ask = ("eval", exported.fp32, "--data", pictures)
    assert "Did you mean 'name'?" in kit.call(*ask, "--card", card).refused()
    assert "split" in kit.call(*ask, "--split", "tset").refused()
    assert "Did you mean 'cpu'?" in kit.call(*ask, "--provider", "cpuu").refused()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.fp32.read_bytes()[:5000])
    assert "broken.onnx" in kit.call("eval", broken, "--data", pictures).refused()


def test_answers_cannot_be_written_below_a_file(
    kit: SimpleNamespace, exported: Any, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    message = kit.call("predict", exported.fp32, pictures / "images", "--out", tmp_path / "file" / "masks").refused()
    assert "choose another place" in message
    message = kit.call("predict", exported.fp32, pictures / "images", "--out", tmp_path, "--format", "jpg").refused()
    assert "png" in message


def test_cuda_that_is_not_there_is_never_replaced(kit: SimpleNamespace, exported: Any, pictures: Path) -> None:
    from segx_core.runtime import CUDA, trouble

    if trouble(CUDA) is None:
        pytest.skip(f"CUDA works here, {ort.__version__}")
    message = kit.call("eval", exported.fp32, "--data", pictures, "--provider", "cuda").refused()
    assert "'cuda' to load" in message


# What a machine looks like that has only the base: `find_spec` says no, and importing raises ModuleNotFoundError.
_BASE_ONLY = """
import sys
from importlib.machinery import PathFinder

HIDDEN = {"torch", "torchvision", "timm", "segmentation_models_pytorch", "onnx", "onnxscript", "matplotlib"}

class BaseOnly:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = BaseOnly
"""
_MAIN = "import sys; from segx.cli import main; sys.argv = ['segx', *sys.argv[1:]]; main()\n"


def python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program outside the checkout; all that it may find is what is installed."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(sys.prefix),
        env={"PATH": "", "HOME": str(Path.home()), "COLUMNS": "120", "OMP_NUM_THREADS": "1"},
    )


def test_without_the_training_libraries(exported: Any, pictures: Path, tmp_path: Path) -> None:
    imported = python(
        f"{_BASE_ONLY}\nimport segx, segx.cli, segx_core, segx_evaluate.run, segx_evaluate.predict, segx_serve.run"
    )
    assert imported.returncode == 0, imported.stderr
    predicted = python(_BASE_ONLY + _MAIN, "predict", exported.int8, pictures / "images", "--out", tmp_path / "masks")
    assert predicted.returncode == 0, predicted.stderr
    assert len(list((tmp_path / "masks").glob("*.png"))) == 16


@pytest.mark.parametrize("verb", [("train", "scenes", "--out", "x"), ("export", "x"), ("demo",)])
def test_training_without_its_libraries_says_how_to_install_them(verb: tuple[str, ...]) -> None:
    done = python(_BASE_ONLY + _MAIN, *verb)
    assert done.returncode == 2, done.stderr
    assert 'pip install "segx[train]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'onnx', 'onnxruntime', 'cv2', 'numpy', 'PIL', 'uvicorn', 'matplotlib'}"
    done = python(
        f"import sys\nfrom segx.cli import main\nsys.argv = ['segx', 'train', '--help']\ntry:\n    main()\n"
        f"except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('loaded', *sorted({heavy} & set(sys.modules)))\n"
    )
    assert done.stdout.splitlines()[-1] == "loaded", done.stdout + done.stderr
