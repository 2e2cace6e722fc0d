"""Means over the steps since the last record, kept on the device so that a GPU never waits for them."""

from __future__ import annotations

import time

import torch


class Window:
    """Add every step, read at every record."""

    def __init__(self) -> None:
        self.loss: list[torch.Tensor] = []
        self.terms: dict[str, list[torch.Tensor]] = {}
        self.pictures = 0
        self.since = time.monotonic()

    def add(self, pictures: int, loss: torch.Tensor, terms: dict[str, torch.Tensor]) -> None:
        """One step: pictures in its batch, its detached loss and the value of each term."""
        self.pictures += pictures
        self.loss.append(loss)
        for name, value in terms.items():
            self.terms.setdefault(name, []).append(value)

    def read(self) -> tuple[float, dict[str, float], float]:
        """Mean loss, mean of each term, pictures per second; then start anew."""
        mean = float(torch.stack(self.loss).mean())
        terms = {name: float(torch.stack(values).mean()) for name, values in self.terms.items()}
        speed = self.pictures / max(1e-9, time.monotonic() - self.since)
        self.loss, self.terms = [], {}
        self.restart()
        return mean, terms, speed

    def restart(self) -> None:
        """Forget the time that passed, so that a validation does not count as slow training."""
        self.pictures, self.since = 0, time.monotonic()
