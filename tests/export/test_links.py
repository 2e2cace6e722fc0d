"""Probabilities of deploy graphs by the link of the loss: ONNX Runtime's are torch's, at any size."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from segx_core import card_io
from segx_core.predictor import Predictor
from segx_export.deploy import DeployGraph, deploy_model
from segx_export.export import ExportSettings, export_run
from segx_export.half import to_half
from segx_export.links import likely
from segx_trainer import checkpoint
from segx_trainer.config import build_config
from segx_trainer.losses.links import probabilities
from segx_trainer.networks import build_network

LINKS = ["softmax", "sparsemax", "entmax15"]


def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def alone(link, classes, opset=20):
    """A graph of nothing but the link."""
    given, found = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", classes, "H", "W"]) for name in ("z", "q")
    )
    graph = helper.make_graph([], "link", [given], [found])
    graph.node.extend(likely(graph, "z", "q", classes, link))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return session(model)


@pytest.mark.parametrize("classes", [1, 2, 11])
@pytest.mark.parametrize("spread", [0.3, 3, 1e4])
@pytest.mark.parametrize("link", LINKS)
def test_a_link_is_torchs_at_any_size(link, spread, classes):
    runtime = alone(link, classes)
    random = np.random.default_rng(0)
    for shape in ((1, classes, 1, 1), (2, classes, 5, 7), (1, classes, 16, 3)):
        z = random.normal(0, spread, shape).astype(np.float32)
        z[0, :, 0, 0] = 1.0  # all alike
        (found,) = runtime.run(None, {"z": z})
        np.testing.assert_allclose(found, probabilities(link, torch.from_numpy(z)).numpy(), atol=2e-6)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("link", ["sparsemax", "entmax15"])
def test_the_oldest_operator_set_has_all_that_a_link_takes(link):
    z = np.random.default_rng(0).normal(0, 1, (1, 4, 3, 3)).astype(np.float32)
    (found,) = alone(link, 4, opset=18).run(None, {"z": z})
    np.testing.assert_allclose(found, probabilities(link, torch.from_numpy(z)).numpy(), atol=2e-6)


@pytest.mark.parametrize("link", ["sparsemax", "entmax15"])
def test_a_deploy_graph_gives_the_links_probabilities(network, link):
    model = deploy_model(network, "probabilities", link=link)
    wanted = DeployGraph(network, link=link).eval()
    for precision in (model, to_half(model)):
        runtime = session(precision)
        for shape in ((1, 1, 1), (2, 33, 47)):
            picture = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
            classmap, found = runtime.run(["classmap", "probabilities"], {"image": picture})
            with torch.inference_mode():
                _, chances = wanted(torch.from_numpy(picture))
            np.testing.assert_allclose(found, chances.numpy(), atol=1e-4 if precision is model else 0.1)
            top = np.take_along_axis(found, classmap[:, None].astype(np.int64), 1)
            assert (top >= found.max(1, keepdims=True) - 1e-3).all()
    assert "Softmax" not in {node.op_type for node in model.graph.node}


def test_a_run_of_a_sparse_loss_is_exported_with_its_link(tmp_path, card):
    config = build_config(
        {"data": "nowhere", "encoder": "test_resnet", "encoder_depth": 3, "decoder_channels": 32, "loss": "sparsemax"}
    )
    content = {"config": config.model_dump(mode="json"), "card": card_io.to_json(card)}
    weights = build_network(config, len(card.classes)).state_dict()
    checkpoint.save(tmp_path / checkpoint.BEST, {**content, "network": weights})
    report = export_run(tmp_path, ExportSettings(outputs="probabilities", gate=False))
    predictor = Predictor.load(report.path, provider="cpu")
    chances = predictor.probabilities(np.random.default_rng(0).integers(0, 256, (1, 33, 50, 3), dtype=np.uint8))
    assert chances is not None
    assert chances.shape == (1, 4, 33, 50)
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-5)
    kinds = {node.op_type for node in onnx.load(report.path).graph.node}
    assert "CumSum" in kinds
    assert "Softmax" not in kinds
