"""Tiny networks of transformers with random weights, saved as a repository of the hub would hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from segx_export.quiet import quiet

SIDE = 64
NAMES = ("ground", "red", "green", "blue")
_COMMON: dict[str, Any] = {"id2label": dict(enumerate(NAMES))}
_STAGES = ["stage1", "stage2", "stage3", "stage4"]


def _segformer():
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[4, 2], hidden_sizes=[16, 32], num_attention_heads=[1, 2],
        patch_sizes=[7, 3], strides=[4, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, **_COMMON,
    )  # fmt: skip
    return transformers.SegformerForSemanticSegmentation(config), transformers.SegformerImageProcessor(size=_square())


def _dpt():
    config = transformers.DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=SIDE,
        patch_size=16, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=16,
        **_COMMON,
    )  # fmt: skip
    return transformers.DPTForSemanticSegmentation(config), transformers.DPTImageProcessor(size=_square())


def _upernet():
    backbone = transformers.ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], out_features=_STAGES)
    config = transformers.UperNetConfig(
        backbone_config=backbone, hidden_size=16, auxiliary_channels=8, auxiliary_in_channels=24, **_COMMON
    )
    return transformers.UperNetForSemanticSegmentation(config), transformers.SegformerImageProcessor(size=_square())


def _eomt():
    config = transformers.EomtConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE, patch_size=16, num_queries=6,
        num_blocks=2, num_register_tokens=1, **_COMMON,
    )  # fmt: skip
    network = transformers.EomtForUniversalSegmentation(config)
    network.attn_mask_probs.zero_()  # as training leaves them
    return network, transformers.EomtImageProcessor(size={"shortest_edge": SIDE, "longest_edge": SIDE})


def _mask2former():
    backbone = transformers.SwinConfig(
        image_size=SIDE, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2, out_features=_STAGES
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        dim_feedforward=16, encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=6, **_COMMON,
    )  # fmt: skip
    return transformers.Mask2FormerForUniversalSegmentation(config), transformers.Mask2FormerImageProcessor(
        size=_square()
    )


def _square() -> dict[str, int]:
    return {"height": SIDE, "width": SIDE}


KINDS = {"segformer": _segformer, "dpt": _dpt, "upernet": _upernet, "eomt": _eomt, "mask2former": _mask2former}


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """`repository(kind)` gives (folder, network, processor); weights are large enough for answers that differ."""
    made: dict[str, tuple[Path, Any, Any]] = {}

    def make(kind: str) -> tuple[Path, Any, Any]:
        if kind not in made:
            torch.manual_seed(3)
            with quiet():
                network, processor = KINDS[kind]()
                with torch.no_grad():
                    for value in network.parameters():
                        if value.ndim > 1:
                            value.normal_(std=1.5 * (value[0].numel()) ** -0.5)
                folder = tmp_path_factory.mktemp(kind) / f"tiny-{kind}"
                network.eval().save_pretrained(folder)
                processor.save_pretrained(folder)
            made[kind] = folder, network, processor
        return made[kind]

    return make
