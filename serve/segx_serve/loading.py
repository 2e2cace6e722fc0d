"""Opening model files for the service: threads that fit, the GPU's options and buffers, and the quality gate's word.

Starts no engine.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from segx_core import runtime
from segx_core.cores import cores
from segx_core.errors import ConfigError, ModelError
from segx_core.predictor import Predictor, card_for_file
from segx_serve.buffers import CudaWay
from segx_serve.cuda import Cuda
from segx_serve.device import DeviceRunner, batch_sizes
from segx_serve.graphs import Graphs
from segx_serve.settings import Settings

_ON_GPU = (runtime.CUDA, runtime.TENSORRT)


def load(path: Path, settings: Settings, provider: str, card: Path | None, force: bool) -> Predictor | DeviceRunner:
    """Open one model file, with threads that fit the number of engines; on a GPU with buffers for its batches.

    Raises:
        ModelError: it cannot be used, or its gate rejected it and `force` is not set.
        ConfigError: runs are to be recorded, but the model is not one of the CUDA provider's.
        SetupError: the provider is not there, or the CUDA runtime is not.
    """
    known = card_for_file(path, card)
    gate = known.gate
    if gate.status == "rejected" and not force:
        raise ModelError(
            "a model that passed its quality gate",
            f"{path.name}, which was rejected: {'; '.join(gate.reasons) or 'no reason recorded'}",
            "Export it anew with other settings, or serve it all the same with --force.",
        )
    threads = settings.threads or max(1, cores() // settings.engine_threads(runtime.CPU))
    options = provider_options(path, settings)
    predictor = Predictor.load(path, provider=provider, card=card, threads=threads, options=options)
    if settings.cuda_graphs and predictor.provider != runtime.CUDA:
        raise ConfigError(
            f"--cuda-graphs with models on {runtime.CUDA}",
            f"{path.name} on {predictor.provider}",
            "Leave it out, or serve with --provider cuda.",
        )
    if predictor.provider not in _ON_GPU:
        return predictor
    cuda = Cuda()
    ways = [CudaWay(cuda) for _ in range(settings.engine_threads(predictor.provider))]
    graphs = _record(predictor, settings, ways, options) if settings.cuda_graphs else None
    return DeviceRunner(predictor, ways, settings.max_batch, graphs)


def provider_options(path: Path, settings: Settings) -> dict[str, dict[str, str]]:
    """What ONNX Runtime's providers for NVIDIA GPUs are told, by provider."""
    cuda = {
        # Asks for what is needed; doubling at every step would hold up to half of a GPU for nothing.
        "arena_extend_strategy": "kSameAsRequested",
        # Trying every algorithm would make the first batch of each size and number of pictures wait a second.
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    # Nothing of precision: without its own flags TensorRT computes in the types that the file has.
    tensorrt: dict[str, str] = {}
    if settings.gpu_mem_limit is not None:
        cuda["gpu_mem_limit"] = str(settings.gpu_mem_limit)
        tensorrt["trt_max_workspace_size"] = str(settings.gpu_mem_limit)
    if settings.trt_cache is not None:
        # By content: an engine built for other weights under the same name must never be taken.
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        folder = settings.trt_cache / content[:16]
        folder.mkdir(parents=True, exist_ok=True)
        tensorrt |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(settings.trt_cache),
        }
    return {runtime.CUDA: cuda, runtime.TENSORRT: tensorrt}


def _record(
    predictor: Predictor, settings: Settings, ways: list[CudaWay], options: dict[str, dict[str, str]]
) -> Graphs:
    card, path, shapes = predictor.card, predictor.path, settings.cuda_graphs
    wrong = [f"{height}x{width}" for height, width in shapes if not predictor.takes(height, width)]
    if wrong:
        raise ConfigError(
            f"--cuda-graphs with sizes that {path.name} takes as they are",
            ", ".join(wrong),
            "It takes files of segx export, and of a model of fixed size only that size.",
        )
    # Here every run there will be is made before the first request, so every algorithm may be tried.
    told = options[runtime.CUDA] | {"enable_cuda_graph": "1", "cudnn_conv_algo_search": "EXHAUSTIVE"}
    chain = [runtime.CUDA, runtime.CPU]
    session = runtime.open_session(path, card.session, chain, 1, provider_options={runtime.CUDA: told})
    room = min(settings.max_pixels // (height * width) for height, width in shapes)
    counts = batch_sizes(max(1, min(settings.max_batch, room)))
    names = (card.image.name, card.prediction.name)
    try:
        return Graphs(session, names, ways, shapes, counts, predictor.prediction_dtype)
    # ONNX Runtime's exceptions share no base below Exception.
    except Exception as error:
        raise ModelError(
            f"{path.name} to be recorded for --cuda-graphs",
            " ".join(str(error).split())[:500],
            "Serve it without --cuda-graphs, or with a smaller --max-batch.",
        ) from error
