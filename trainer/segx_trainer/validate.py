"""Scores a network on whole pictures with the counts every part of segx shares."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from segx_core.meaning import meaning
from segx_trainer.decide import decide, usual_thresholds
from segx_trainer.loading import Pictures, batches_of_equal_size
from segx_trainer.networks import SegmentationNet


def validate(network: SegmentationNet, pictures: Pictures, device: torch.device, batch_size: int) -> NDArray[np.int64]:
    """Counts over the split, as `meaning` of the data counts, in full precision and full size.

    Full precision, because this is the figure the exported float file must reproduce.
    """
    was_training = network.training
    network.eval()
    data = pictures.data
    reader, thresholds = meaning(data.task), usual_thresholds(data.task, network.num_classes)
    total = reader.no_counts(network.num_classes)
    with torch.inference_mode():
        for images, masks in batches_of_equal_size(pictures, batch_size):
            guess = decide(network(images.to(device, non_blocking=True)), thresholds)  # (B, H, W) int64
            total += reader.count(masks.numpy(), guess.cpu().numpy(), network.num_classes, data.ignore_index)
    network.train(was_training)
    return total
