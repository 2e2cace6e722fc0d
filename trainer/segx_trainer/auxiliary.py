"""A second head on the encoder, for deep supervision while training. It is no part of the network that export takes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from segx_trainer.networks import SegmentationNet


class AuxHead(nn.Module):
    """One 1x1 convolution from the encoder's stride-16 features to the classes, enlarged to the picture."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, num_classes, kernel_size=1)

    def both(self, network: SegmentationNet, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) uint8 -> the logits of the network and of this head, each (B, K, H, W), in one pass."""
        logits, features = network.with_features(images)
        height, width = images.shape[-2:]
        padded = [side + -side % network.size_multiple for side in (height, width)]
        scores = functional.interpolate(self.score(features), size=padded, mode="bilinear", align_corners=False)
        return logits, scores[..., :height, :width]


def build_aux_head(network: SegmentationNet) -> AuxHead:
    """A head with random weights for `network`, on its device. Asks the network how wide its features are."""
    was_training = network.training
    side = 2 * network.size_multiple
    with torch.no_grad():
        probe = torch.zeros((1, 3, side, side), dtype=torch.uint8, device=network.mean.device)
        _, features = network.eval().with_features(probe)
    network.train(was_training)
    return AuxHead(features.shape[1], network.num_classes).to(network.mean.device)
