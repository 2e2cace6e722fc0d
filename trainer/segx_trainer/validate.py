"""Scores a network on whole pictures with the confusion matrix every part of segx shares."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from segx_core.confusion import confusion
from segx_trainer.loading import Pictures, batches_of_equal_size
from segx_trainer.networks import SegmentationNet


def validate(network: SegmentationNet, pictures: Pictures, device: torch.device, batch_size: int) -> NDArray[np.int64]:
    """Confusion matrix (K, K) int64 over the split, rows = target, in full precision and full size.

    Full precision, because this is the figure the exported float file must reproduce.
    """
    was_training = network.training
    network.eval()
    total = np.zeros((network.num_classes, network.num_classes), np.int64)
    with torch.inference_mode():
        for images, masks in batches_of_equal_size(pictures, batch_size):
            guess = network(images.to(device, non_blocking=True)).argmax(1)  # (B, H, W) int64
            total += confusion(masks.numpy(), guess.cpu().numpy(), network.num_classes, pictures.data.ignore_index)
    network.train(was_training)
    return total
