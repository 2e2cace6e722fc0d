"""Networks of transformers behind segx's contract against transformers' own processors and post-processing."""

from __future__ import annotations

import json
import shutil

import huggingface_hub.constants
import numpy as np
import pytest
import torch

from segx_core.errors import ModelError
from segx_export.hub.address import parse
from segx_export.hub.network import HubNet
from segx_export.hub.transformers_nets import find
from segx_export.quiet import quiet

SIDE = 64


def picture(seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)


@pytest.mark.parametrize("kind", ["segformer", "dpt", "upernet", "eomt"])
def test_maps_are_those_of_transformers_itself(repository, kind):
    folder, network, processor = repository(kind)
    net = HubNet(find(parse(f"hf:{folder}"))).eval()
    assert net.fixed_size == (None if kind == "segformer" else (SIDE, SIDE))
    image = picture()
    with quiet(), torch.inference_mode():
        answer = network(**processor(images=image, return_tensors="pt"))
        extra = {"size": {"shortest_edge": SIDE, "longest_edge": SIDE}} if kind == "eomt" else {}
        if kind == "eomt":
            answer.patch_offsets = [(0, 0, SIDE)]  # one window covers the picture
        (want,) = processor.post_process_semantic_segmentation(answer, target_sizes=[(SIDE, SIDE)], **extra)
        got = net(torch.from_numpy(image).permute(2, 0, 1)[None]).argmax(1)[0]
    assert len(want.unique()) > 1, "an answer of one class would prove nothing"
    assert (got == want).float().mean() > 0.999


def test_queries_are_summed_as_the_paper_says(repository):
    folder, network, processor = repository("mask2former")
    found = find(parse(f"hf:{folder}"))
    assert found.fixed_size == (SIDE, SIDE)
    x = processor(images=picture(1), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        answer, scores = network(pixel_values=x), found.body(x)
    masks = torch.nn.functional.interpolate(answer.masks_queries_logits, size=(SIDE, SIDE), mode="bilinear").sigmoid()
    want = torch.zeros(1, 4, SIDE, SIDE)
    for query, chances in enumerate(answer.class_queries_logits.softmax(-1)[0]):
        for label in range(4):  # the fifth is "no object"
            want[0, label] += chances[label] * masks[0, query]
    torch.testing.assert_close(scores, want, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        chances = find(parse(f"hf:{folder}"), logarithm=True).body(x).softmax(1)
    torch.testing.assert_close(chances, want / want.sum(1, keepdim=True), rtol=1e-3, atol=1e-4)


def test_facts_come_from_config_and_processor(repository):
    folder, _, processor = repository("segformer")
    found = find(parse(f"hf:{folder}"))
    assert found.classes == ("ground", "red", "green", "blue")
    assert found.normalisation.scale == 255
    assert found.normalisation.mean == tuple(processor.image_mean)
    assert found.size_multiple == 32
    sized = find(parse(f"hf:{folder}?size=32x64"))
    assert (sized.fixed_size, sized.size_multiple) == ((32, 64), 1)
    assert "32x64" in sized.origin.notes[0]
    assert find(parse(f"hf:{folder}?weights=none")).origin.revision == "random weights"


@pytest.mark.parametrize(
    ("changes", "scale", "mean"),
    [
        ({"do_rescale": False}, 1.0, None),
        ({"do_normalize": False}, 255, (0.0, 0.0, 0.0)),
        ({"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1]}, 127.5, (1, 1, 1)),
    ],
)
def test_processors_may_do_less(repository, tmp_path, changes, scale, mean):
    shutil.copytree(repository("segformer")[0], tmp_path / "net")
    file = tmp_path / "net" / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    rule = find(parse(f"hf:{tmp_path / 'net'}")).normalisation
    assert rule.scale == pytest.approx(scale)
    assert mean is None or rule.mean == mean


def test_what_is_no_segmentation_network_is_refused(tmp_path, repository, monkeypatch):
    with pytest.raises(ModelError, match=r"config\.json"):
        find(parse(f"hf:{tmp_path / 'nowhere'}"))
    other = tmp_path / "other"
    shutil.copytree(repository("segformer")[0], other)
    (other / "config.json").write_text(
        json.dumps({"model_type": "vit", "architectures": ["ViTForImageClassification"]})
    )
    with pytest.raises(ModelError, match="ViTForImageClassification"):
        find(parse(f"hf:{other}"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="connection"):
        find(parse("hf:nobody/nothing-at-all"))


def test_weights_that_are_not_all_there_are_refused(tmp_path, repository):
    from safetensors.torch import load_file, save_file

    shutil.copytree(repository("segformer")[0], tmp_path / "net")
    file = tmp_path / "net" / "model.safetensors"
    state = load_file(file)
    save_file({key: value for key, value in state.items() if "decode_head" not in key}, file, {"format": "pt"})
    with pytest.raises(ModelError, match="decode_head"):
        find(parse(f"hf:{tmp_path / 'net'}"))


def test_masking_that_is_drawn_anew_each_time_is_refused(tmp_path, repository):
    import transformers

    folder, _, processor = repository("eomt")
    network = transformers.EomtForUniversalSegmentation.from_pretrained(folder)
    network.attn_mask_probs.fill_(0.5)
    network.save_pretrained(tmp_path / "net")
    processor.save_pretrained(tmp_path / "net")
    with pytest.raises(ModelError, match=r"0\.5"):
        find(parse(f"hf:{tmp_path / 'net'}"))
