"""Opens the teacher of a run: another run's network, or any ONNX file with a card, as one kind of module.

Either takes the student's batch and answers with logits in the order of the student's classes. What is learnt from
them is the loss's business, and when they are asked is the loop's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from segx_core.datasets import Dataset
from segx_core.errors import ConfigError
from segx_core.predictor import Predictor
from segx_trainer.checkpoint import load_run
from segx_trainer.config import TrainConfig

_LEAST = float(np.finfo(np.float32).tiny)  # of a probability, so that its logarithm is finite


class OnnxTeacher(nn.Module):
    """An ONNX file that answers with logarithms of probabilities: logits but for a constant a pixel.

    The constant is nothing to a softmax over classes (kd). To one over pixels (cwd) it is something: there the student
    learns where each class's log-probability is high, which agrees with what kd teaches.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, K, H, W) float32 on the same device, without gradient."""
        batch = np.ascontiguousarray(image.permute(0, 2, 3, 1).cpu().numpy())
        likely = self.predictor.probabilities(batch)
        assert likely is not None, "open_teacher refuses such files"
        return torch.from_numpy(likely).to(image.device).clamp(min=_LEAST).log()


class Reordered(nn.Module):
    """A teacher whose classes stand in another order than the student's.

    Attributes:
        order: (K,) int64: at the place of each of the student's classes, the teacher's channel.
    """

    order: Tensor

    def __init__(self, teacher: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.teacher = teacher
        self.register_buffer("order", torch.tensor(order))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, K, H, W) logits."""
        answer: Tensor = self.teacher(image)
        return answer.index_select(1, self.order)


def open_teacher(config: TrainConfig, data: Dataset) -> nn.Module | None:
    """The teacher a config names, in eval mode and without gradients; None where it names none.

    Args:
        config: `teacher` is a run folder or an ONNX file; `device` says where a file runs.
        data: names the student's classes.

    Raises:
        ConfigError: multilabel data, other classes, or a file that gives class maps alone.
        ModelError, CardError, SetupError: it cannot be read or run.
    """
    if config.teacher is None:
        return None
    path = Path(config.teacher)
    if data.task == "multilabel":
        raise ConfigError("multiclass data with a teacher", "multilabel data", "kd and cwd distil by softmax.")
    teacher: nn.Module
    if path.suffix == ".onnx":
        predictor = _open_file(path, config.device)
        card, teacher = predictor.card, OnnxTeacher(predictor)
    else:
        loaded = load_run(path)
        card, teacher = loaded.card, loaded.network
    if card.task == "multilabel":
        raise ConfigError("a multiclass teacher", f"the multilabel {path}", "kd and cwd distil by softmax.")
    if set(card.classes) != set(data.classes):
        only_here = sorted(set(data.classes) - set(card.classes))
        only_there = sorted(set(card.classes) - set(data.classes))
        raise ConfigError(
            f"a teacher of the data's classes ({', '.join(data.classes)})",
            f"{path}, which lacks {', '.join(only_here) or 'none'} and has {', '.join(only_there) or 'none'} besides",
            "Their order may differ, their names may not.",
        )
    if card.classes != data.classes:
        teacher = Reordered(teacher, [card.classes.index(name) for name in data.classes])
    return teacher.eval().requires_grad_(False)


def _open_file(path: Path, device: str) -> Predictor:
    # The threads are the network's own: a session with more of them would take the student's cores.
    predictor = Predictor.load(path, provider="cpu" if device == "cpu" else "auto", threads=torch.get_num_threads())
    if all(spec.is_map for spec in predictor.card.outputs):
        raise ConfigError(
            "a teacher that answers with probabilities or logits",
            f"{path}, which gives class maps alone",
            "Export it again with: segx export RUN --outputs probabilities",
        )
    return predictor
