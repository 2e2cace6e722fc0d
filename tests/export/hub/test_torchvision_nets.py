"""torchvision's networks behind segx's contract against torchvision's own forward pass."""

from __future__ import annotations

import urllib.request

import pytest
import torch
from torchvision import models

from segx_core.errors import ConfigError, ModelError, SetupError
from segx_export.hub.address import parse
from segx_export.hub.network import HubNet
from segx_export.hub.torchvision_nets import find

SMALL = "lraspp_mobilenet_v3_large"


def theirs(name):
    torch.manual_seed(0)
    return models.get_model(
        name, weights=None, weights_backbone=None, num_classes=21, aux_loss="lraspp" not in name
    ).eval()


@pytest.mark.parametrize("name", [SMALL, "deeplabv3_mobilenet_v3_large"])
def test_logits_are_torchvisions_own(name, tmp_path):
    network = theirs(name)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    found = find(parse(f"torchvision:{name}?weights={tmp_path / 'weights.pth'}"))
    net = HubNet(found).eval()
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    preset = models.get_model_weights(name).DEFAULT.transforms(resize_size=None)
    with torch.inference_mode():
        want, got = network(preset(image))["out"], net(image)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert not any("aux" in key for key in net.state_dict())


def test_facts_come_from_the_published_weights():
    found = find(parse(f"torchvision:{SMALL}?weights=none"))
    assert found.classes[0] == "background"
    assert found.classes[15] == "person"
    assert found.palette[15] == (192, 128, 128)
    assert found.normalisation.mean == (0.485, 0.456, 0.406)
    assert found.origin.revision == "random weights"
    assert found.origin.licence == ""


def test_names_and_weights_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError, match="deeplabv3_resnet50"):
        find(parse("torchvision:deeplabv3_resnet5"))
    with pytest.raises(ConfigError, match="COCO_WITH_VOC_LABELS_V1"):
        find(parse(f"torchvision:{SMALL}?weights=COCO_WITH_VOC_LABELS_V2"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ModelError, match="state dict"):
        find(parse(f"torchvision:{SMALL}?weights={tmp_path / 'text.pth'}"))
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="this very network"):
        find(parse(f"torchvision:{SMALL}?weights={tmp_path / 'other.pth'}"))


def test_weights_that_cannot_be_downloaded_say_where_to_put_them(monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(urllib.request, "_opener", None)  # keeps the proxies of its first use
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(SetupError, match=r"checkpoints.*weights=none"):
        find(parse(f"torchvision:{SMALL}"))
