"""Providers asked for honestly, on the real ONNX Runtime of whatever machine runs the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segx_core import runtime
from segx_core.card import Session
from segx_core.errors import ConfigError, ModelError, SetupError

CORE = Path(runtime.__file__).parents[1]


def test_cpu_by_either_name():
    assert runtime.resolve_provider("cpu") == [runtime.CPU]
    assert runtime.resolve_provider("CPUExecutionProvider", ("cuda",)) == [runtime.CPU]


def test_auto_takes_the_first_that_loads():
    loads = [name for name in ("tensorrt", "cuda", "cpu") if runtime.trouble(runtime.SHORT[name]) is None]
    assert runtime.resolve_provider("auto", ("tensorrt", "cuda", "cpu"))[0] == runtime.SHORT[loads[0]]
    assert runtime.resolve_provider("auto", ("cpu", "cuda")) == [runtime.CPU]
    if loads == ["cpu"]:
        assert runtime.resolve_provider("auto", ("tensorrt",)) == [runtime.CPU]


@pytest.mark.parametrize("name", ["cuda", "tensorrt", "CUDAExecutionProvider", "OpenVINOExecutionProvider"])
def test_a_provider_by_name_loads_or_is_an_error_with_a_cure(name):
    full = runtime.SHORT.get(name, name)
    if runtime.trouble(full) is None:
        assert runtime.resolve_provider(name)[0] == full
    else:
        with pytest.raises(SetupError, match=f"the provider '{name}' to load") as caught:
            runtime.resolve_provider(name)
        assert caught.value.cure


def test_an_unknown_provider_names_the_near_one():
    with pytest.raises(ConfigError, match="Did you mean 'tensorrt'"):
        runtime.resolve_provider("tensort")


def test_the_trial_graph_runs():
    session = runtime.ort.InferenceSession(runtime._TRIAL, providers=[runtime.CPU])
    assert session.run(None, {"x": runtime.np.ones(1, runtime.np.float32)})[0].tolist() == [2]


def test_two_builds_installed_are_told_with_the_cure(tmp_path, monkeypatch):
    assert runtime.conflict() is None
    for name in ("onnxruntime", "onnxruntime_gpu"):
        info = tmp_path / f"{name}-1.22.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.22.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    found, cure = runtime.conflict()
    assert "both onnxruntime and onnxruntime-gpu" in found
    assert "pip uninstall" in cure
    if runtime.trouble(runtime.CUDA) is not None:
        with pytest.raises(SetupError, match=r"both onnxruntime and onnxruntime-gpu.*pip uninstall"):
            runtime.resolve_provider("cuda")


def test_bad_session_entries_and_files_are_model_errors(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"x\.onnx"):
        runtime.open_session(tmp_path / "x.onnx", Session(), [runtime.CPU])
    (tmp_path / "trial.onnx").write_bytes(runtime._TRIAL)
    assert runtime.open_session(tmp_path / "trial.onnx", Session(), [runtime.CPU]).get_providers() == [runtime.CPU]
    with pytest.raises(ModelError, match=r"trial\.onnx"):
        runtime.open_session(tmp_path / "trial.onnx", Session(config={"": "x" * 9000}), [runtime.CPU])


def test_opencv_without_libgl_is_a_setup_error(tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(CORE)!r}]\n"
        "from segx_core.errors import SetupError\n"
        "try:\n    import segx_core.geometry\nexcept SetupError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "libGL.so.1" in done.stdout
    assert "apt-get install libgl1" in done.stdout
    assert "opencv-python-headless" in done.stdout


def test_importing_onnxruntime_and_core_warns_of_nothing():
    program = f"import sys; sys.path.insert(0, {str(CORE)!r}); import segx_core.predictor"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_options_go_to_the_providers_asked_for_alone(tmp_path):
    (tmp_path / "trial.onnx").write_bytes(runtime._TRIAL)
    options = {runtime.CUDA: {"gpu_mem_limit": "1048576"}, runtime.TENSORRT: {"trt_engine_cache_enable": "1"}}
    session = runtime.open_session(tmp_path / "trial.onnx", Session(), [runtime.CPU], provider_options=options)
    assert session.get_provider_options() == {runtime.CPU: {}}
    if runtime.trouble(runtime.CUDA) is None:
        chain = [runtime.CUDA, runtime.CPU]
        session = runtime.open_session(tmp_path / "trial.onnx", Session(), chain, provider_options=options)
        assert session.get_provider_options()[runtime.CUDA]["gpu_mem_limit"] == "1048576"
