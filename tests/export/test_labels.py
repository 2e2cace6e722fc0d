"""The deploy graph of a multilabel network: bits of all classes above their thresholds, in every precision."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from segx_core import bits
from segx_core.card import OutputSpec
from segx_core.datasets import open_dataset
from segx_core.errors import DataError, GateError
from segx_core.predictor import Predictor
from segx_export import onnxgraph
from segx_export.candidates import Candidate
from segx_export.compress import compress
from segx_export.deploy import DeployGraph, deploy_card, deploy_model
from segx_export.export import ExportSettings, open_data
from segx_export.half import to_half
from segx_export.parity import check_parity
from segx_export.quantize import prepare

THRESHOLDS = (0.4, 0.5, 0.55)


def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def several(network):
    """A network of three classes with weights from the fitted one, so that its logits have a spread."""
    network_ = type(network)(
        _body(network), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), num_classes=3, size_multiple=4
    )
    return network_.eval()


def _body(network):
    body = torch.nn.Module()
    body.encoder, body.decoder = network.encoder, network.decoder
    head = torch.nn.Conv2d(32, 3, 3, padding=1)
    head.load_state_dict({key: value[1:4] for key, value in network.head.state_dict().items()})
    body.segmentation_head = head
    return body


@pytest.fixture(scope="module")
def graph(several):
    """Its deploy model with probabilities; tests copy it before they change it."""
    return deploy_model(several, "probabilities", thresholds=THRESHOLDS)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 33, 47), (3, 64, 20)])
def test_any_size_and_batch_gives_torchs_bits(graph, several, shape):
    picture = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    labels, probabilities = session(graph).run(["labels", "probabilities"], {"image": picture})
    with torch.inference_mode():
        wanted, chances = DeployGraph(several, THRESHOLDS)(torch.from_numpy(picture))
    assert (labels.dtype, labels.shape) == (np.uint8, shape)
    np.testing.assert_allclose(probabilities, chances.numpy(), atol=1e-4)
    differs = bits.unpack(labels ^ wanted.numpy(), 3)
    close = np.abs(chances.numpy() - np.array(THRESHOLDS).reshape(1, 3, 1, 1)).transpose(1, 0, 2, 3) < 1e-3
    assert not (differs & ~close).any()


@pytest.mark.parametrize(("classes", "kind"), [(1, np.uint8), (8, np.uint8), (9, np.uint16), (16, np.uint16)])
def test_every_bit_has_its_place(make, classes, kind):
    network = make(classes=classes, seed=classes).eval()
    with torch.no_grad():  # biases so large that which classes are there is known: every second one
        network.head.bias[:] = torch.tensor([50.0 if index % 2 == 0 else -50.0 for index in range(classes)])
    thresholds = (0.5,) * classes
    model = deploy_model(network, thresholds=thresholds)
    (labels,) = session(model).run(None, {"image": np.zeros((1, 5, 6, 3), np.uint8)})
    assert labels.dtype == kind
    assert (labels == sum(1 << index for index in range(0, classes, 2))).all()
    check_parity(network, model, thresholds=thresholds)


def test_a_wrong_threshold_does_not_pass_parity(graph, several):
    assert check_parity(several, graph, thresholds=THRESHOLDS).agreement > 0.999
    with pytest.raises(GateError, match=r"only ties to flip"):
        check_parity(several, graph, thresholds=(0.1, 0.5, 0.55))


def test_packing_is_no_part_of_the_network_in_any_precision(graph, several):
    prepared = prepare(graph)
    outside = set(onnxgraph.surroundings(prepared.graph))
    packing = {"Greater", "Reshape", "Sigmoid"}
    assert onnxgraph.PACKING in outside
    assert packing <= {node.op_type for node in prepared.graph.node if node.name in outside}
    half = session(to_half(graph))
    picture = np.random.default_rng(6).integers(0, 256, (1, 40, 44, 3), dtype=np.uint8)
    exact = session(graph).run(["labels"], {"image": picture})[0]
    assert (half.run(["labels"], {"image": picture})[0] == exact).mean() > 0.95


def test_the_card_names_the_map(card):
    described = card.model_copy(update={"task": "multilabel", "thresholds": (0.5,) * 4, "ignore_index": 16})
    (labels,) = deploy_card(described, "classmap").outputs
    assert labels == OutputSpec(name="labels", kind="labels", dtype="uint8")
    many = described.model_copy(update={"classes": tuple("abcdefghi"), "thresholds": (0.5,) * 9})
    assert deploy_card(many, "probabilities").outputs[0].dtype == "uint16"


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory, draw_overlapping):
    return draw_overlapping(tmp_path_factory.mktemp("multilabel") / "data", 10)


def test_quantized_files_are_judged_by_what_each_class_lost(several, graph, card, overlapping, tmp_path):
    described = card.model_copy(
        update={
            "task": "multilabel",
            "thresholds": THRESHOLDS,
            "classes": ("shape", "square", "disc"),
            "palette": card.palette[:3],
            "ignore_index": 8,
        }
    )
    settings = ExportSettings(
        quantize=True, outputs="probabilities", max_drop=100, provider="cpu", data=str(overlapping)
    )
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    dataset = open_data(described, settings)
    parity = check_parity(several, graph, thresholds=THRESHOLDS)
    report = compress(Candidate(copy, deploy_card(described, "probabilities")), parity, tmp_path, settings, dataset)
    assert report.kept == "int8"
    first, second = report.files
    assert set(first.measurement.per_class_iou) == {"shape", "square", "disc"}
    assert second.placement.int8 > 0
    assert 0.5 < second.agreement <= 1
    # The report's IoU is that of the file, counted here by hand.
    model, hits, union = Predictor.load(report.path, provider="cpu"), np.zeros(3), np.zeros(3)
    for sample in dataset.split("val"):
        picture, target = dataset.read(sample)
        valid = target != 8
        true, found = (bits.unpack(one, 3) & valid for one in (target, model.predict(picture)))
        hits += (true & found).sum(axis=(1, 2))
        union += (true | found).sum(axis=(1, 2))
    measured = list(second.measurement.per_class_iou.values())
    assert measured == pytest.approx((hits / union).tolist(), abs=1e-12)


def test_data_of_the_other_task_is_refused(card, data, overlapping):
    settings = ExportSettings(data=str(overlapping))
    with pytest.raises(DataError, match=r"multiclass masks in .* got multilabel"):
        open_data(card, settings)
    assert open_dataset(data).task == "multiclass"
