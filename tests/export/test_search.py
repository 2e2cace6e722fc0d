"""Whether the search leaves a good network alone and mends what is planted, within its evaluations."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from segx_core.card import Card, InputSpec, OutputSpec
from segx_core.datasets import open_dataset
from segx_core.palette import default_palette
from segx_export.deploy import deploy_card, deploy_model
from segx_export.placement import placement
from segx_export.quantize import CPU, Scheme
from segx_export.search import EVALUATIONS, search

COLOURS = np.array([[90, 90, 90], [200, 40, 40], [40, 180, 60], [50, 60, 210]], np.float32) / 255


class NearestColour(nn.Module):
    """Logit of a class = 2 c.x - |c|^2, after a first layer whose channels have ranges as unlike as `spread`."""

    num_classes, size_multiple = 4, 1

    def __init__(self, spread: float) -> None:
        super().__init__()
        first, second, *rest = (nn.Conv2d(n, 4, 1) for n in (3, 4, 4, 4))
        with torch.no_grad():
            first.bias.zero_()
            first.weight.copy_(torch.cat([spread * torch.ones(1, 3), torch.eye(3)]).view(4, 3, 1, 1))
            second.weight.zero_()
            second.weight[:, 1:, 0, 0] = 2 * torch.from_numpy(COLOURS)
            second.bias.copy_(1 - torch.from_numpy((COLOURS**2).sum(1)))  # + 1 keeps them above the ReLU
            for layer in rest:
                layer.weight.copy_(torch.eye(4).view(4, 4, 1, 1))
                layer.bias.zero_()
        self.layers = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), rest[0], nn.ReLU(), rest[1])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image.float() / 255)


def searched(network: nn.Module, data, max_drop: float = 0.5, scheme: Scheme = CPU):
    dataset = open_dataset(data)
    model = deploy_model(network.eval())
    card = Card(
        name="nearest",
        classes=dataset.classes,
        palette=default_palette(4),
        inputs=(InputSpec(name="image"),),
        outputs=(OutputSpec(name="classmap"),),
    )
    card = deploy_card(card, "classmap")
    return search(model, card, dataset, 8, max_drop, scheme), card


def test_a_network_that_loses_little_stays_int8_throughout(data):
    found, card = searched(NearestColour(1.0), data, max_drop=2.0)
    assert found.kept_float == ()
    assert [trial.kept_float for trial in found.trials] == [0]
    assert placement(found.model, card.session).float == 0
    assert set(found.noise) == {"minmax", "percentile", "entropy"}
    assert found.method == min(found.noise, key=found.noise.get)


def test_layers_of_unlike_ranges_go_back_to_float(data):
    found, card = searched(NearestColour(3000.0), data)
    assert found.trials[0].drop > 20
    assert 0 < len(found.kept_float) < found.nodes
    last = next(trial for trial in reversed(found.trials) if trial.kept_float == len(found.kept_float))
    assert last.drop <= 0.25
    assert len(found.trials) <= EVALUATIONS
    kernels = placement(found.model, card.session)
    assert (kernels.float, kernels.int8) == (len(found.kept_float), found.nodes - len(found.kept_float))


def test_signed_per_tensor_weights_are_caught_and_mended(data):
    """One filter a thousand times larger than the others: a scale for all of them leaves the others nothing."""
    network = NearestColour(1000.0)
    poor = Scheme(signed=True, per_channel=False, reduced=False)
    found, _ = searched(network, data, scheme=poor)
    assert found.trials[0].drop > 20
    assert found.trials[-1].kept_float > 0
    assert min(trial.drop for trial in found.trials) <= 0.25
    assert len(found.trials) <= EVALUATIONS
    worst = found.noisiest[0]
    assert worst[0] in found.kept_float
    assert worst[1] == max(noise for _, noise in found.noisiest)


def test_what_was_done_is_told(data):
    found, _ = searched(NearestColour(3000.0), data)
    told = " ".join(found.sentences())
    assert f"{len(found.kept_float)} of {found.nodes} nodes stay float" in told
    document = found.to_json()
    assert [trial["drop"] for trial in document["evaluations"]] == [trial.drop for trial in found.trials]
