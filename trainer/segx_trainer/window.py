"""Means over the steps since the last record, kept on the device so that a GPU never waits for them."""

from __future__ import annotations

import time

import torch

from segx_trainer.update import Taken, broken


class Window:
    """Add every step, read at every record."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.pictures = 0
        self.since = time.monotonic()

    def add(self, pictures: int, taken: Taken) -> None:
        """One step, with the pictures in its batch."""
        self.pictures += pictures
        self.taken.append(taken)

    def broken(self) -> tuple[int, str] | None:
        """Which of these steps was not finite first, counted back from the last (0), and what of it, in words."""
        sums = [sum(one.terms.values(), one.loss + one.logits + one.norm) for one in self.taken]
        if bool(torch.isfinite(torch.stack(sums)).all()):  # the usual case: one read
            return None
        found = ((len(sums) - 1 - place, broken(one)) for place, one in enumerate(self.taken))
        return next(((back, what) for back, what in found if what), None)

    def read(self) -> tuple[float, dict[str, float], float]:
        """Mean loss, mean of each term, pictures per second; then start anew."""
        mean = float(torch.stack([one.loss for one in self.taken]).mean())
        names = dict.fromkeys(name for one in self.taken for name in one.terms)
        terms = {
            name: float(torch.stack([one.terms[name] for one in self.taken if name in one.terms]).mean())
            for name in names
        }
        speed = self.pictures / max(1e-9, time.monotonic() - self.since)
        self.taken = []
        self.restart()
        return mean, terms, speed

    def restart(self) -> None:
        """Forget the time that passed, so that a validation does not count as slow training."""
        self.pictures, self.since = 0, time.monotonic()
