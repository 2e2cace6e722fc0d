"""The deploy graph: any size, any batch, the same maps as torch, the right integer type."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from segx_core.predictor import Predictor
from segx_export.deploy import DeployGraph, deploy_card, deploy_model, fix_size
from segx_export.modelfile import write_model
from segx_export.parity import check_parity, shapes_for


@pytest.fixture(scope="module")
def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 4), (2, 33, 47), (3, 64, 20), (1, 5, 128)])
def test_any_size_and_batch_gives_torchs_map(session, network, shape):
    picture = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    classmap, probabilities = session.run(["classmap", "probabilities"], {"image": picture})
    with torch.inference_mode():
        wanted, chances = DeployGraph(network)(torch.from_numpy(picture))
    assert classmap.dtype == np.uint8
    assert classmap.shape == shape
    assert probabilities.shape == (shape[0], 4, *shape[1:])
    np.testing.assert_allclose(probabilities, chances.numpy(), atol=1e-4)
    top = np.sort(chances.numpy(), axis=1)
    assert ((classmap == wanted.numpy()) | (top[:, -1] - top[:, -2] < 1e-3)).all()


def test_a_picture_gets_the_same_map_alone_and_in_a_batch(session):
    pictures = np.random.default_rng(4).integers(0, 256, (3, 30, 41, 3), dtype=np.uint8)
    together = session.run(["probabilities"], {"image": pictures})[0]
    for index, picture in enumerate(pictures):
        alone = session.run(["probabilities"], {"image": picture[None]})[0]
        np.testing.assert_allclose(alone[0], together[index], atol=1e-5)


def test_parity_tries_odd_sizes_and_batches(network, model):
    parity = check_parity(network, model)
    assert parity.shapes == shapes_for(4)
    assert len({shape[0] for shape in parity.shapes}) == 3
    assert parity.logits_difference < 1e-4


def test_past_256_classes_maps_are_uint16(make):
    network = make(classes=300).eval()
    model = deploy_model(network)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(5).integers(0, 256, (1, 17, 22, 3), dtype=np.uint8)
    (classmap,) = session.run(None, {"image": picture})
    assert classmap.dtype == np.uint16
    assert classmap.shape == (1, 17, 22)
    check_parity(network, model)


def test_a_file_is_one_graph_of_named_sizes(model):
    (image,) = model.graph.input
    assert [axis.dim_param or axis.dim_value for axis in image.type.tensor_type.shape.dim] == ["N", "H", "W", 3]
    assert [output.name for output in model.graph.output] == ["classmap", "probabilities"]
    assert {entry.version for entry in model.opset_import if not entry.domain} == {20}


def test_a_file_fixed_to_a_size_takes_that_size_alone_and_says_so(tmp_path, model, card):
    fixed, told = fix_size(model, deploy_card(card, "probabilities"), (33, 47))
    assert (told.size.kind, told.size.height, told.size.width) == ("fixed", 33, 47)
    assert told.image.shape == ("N", 33, 47, 3)
    path = tmp_path / "fixed.onnx"
    write_model(fixed, told, path)
    predictor = Predictor.load(path, provider="cpu")
    picture = np.random.default_rng(6).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    free = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert (predictor.predict(picture) == free.run(["classmap"], {"image": picture[None]})[0][0]).all()
    assert predictor.predict(np.zeros((70, 90, 3), np.uint8)).shape == (70, 90)  # fitted outside
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        predictor.session.run(None, {"image": np.zeros((1, 34, 47, 3), np.uint8)})
