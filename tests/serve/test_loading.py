"""What a model file becomes on this machine, and what GPUs' providers are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from segx_core import runtime
from segx_core.errors import ConfigError, ModelError
from segx_core.predictor import Predictor
from segx_serve.loading import load, provider_options
from segx_serve.models import engine_for
from segx_serve.settings import Settings
from tests.serve.conftest import card, write_model


def test_on_a_cpu_it_is_the_predictor(model_file):
    runner = load(model_file, Settings(), "cpu", None, False)
    assert isinstance(runner, Predictor)
    engine = engine_for("tiny", runner, Settings(engines=3), lambda jobs: None, lambda jobs: None)
    assert len(engine._threads) == 3


def test_runs_are_recorded_on_a_gpu_only(model_file):
    with pytest.raises(ConfigError, match=r"--cuda-graphs with models on CUDA.*tiny\.onnx on CPUExecutionProvider"):
        load(model_file, Settings(cuda_graphs=((8, 8),)), "cpu", None, False)


def test_a_rejected_file_is_not_even_opened(tmp_path):
    gate = card().gate.model_copy(update={"status": "rejected", "reasons": ("lost 3 points",)})
    path = write_model(tmp_path / "bad.onnx", card().model_copy(update={"gate": gate}))
    with pytest.raises(ModelError, match="lost 3 points"):
        load(path, Settings(), "cpu", None, False)
    assert isinstance(load(path, Settings(), "cpu", None, True), Predictor)


def test_memory_is_asked_for_as_needed_and_bounded(model_file):
    cuda = provider_options(model_file, Settings())[runtime.CUDA]
    assert cuda == {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
    bounded = provider_options(model_file, Settings(gpu_mem_limit=5 * 2**30))
    assert bounded[runtime.CUDA]["gpu_mem_limit"] == str(5 * 2**30)
    assert bounded[runtime.TENSORRT] == {"trt_max_workspace_size": str(5 * 2**30)}


def test_engines_of_tensorrt_are_kept_by_the_content_of_the_file(tmp_path: Path, model_file):
    settings = Settings(trt_cache=tmp_path / "engines")
    told = provider_options(model_file, settings)[runtime.TENSORRT]
    assert told["trt_engine_cache_enable"] == "1"
    assert told["trt_timing_cache_path"] == str(tmp_path / "engines")
    folder = Path(told["trt_engine_cache_path"])
    assert folder.is_dir()
    assert folder.parent == tmp_path / "engines"
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(model_file.read_bytes())
    assert provider_options(copy, settings)[runtime.TENSORRT] == told
    other = write_model(tmp_path / "other.onnx", card("other"))
    assert provider_options(other, settings)[runtime.TENSORRT]["trt_engine_cache_path"] != str(folder)
