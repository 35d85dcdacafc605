"""Scikit-learn's handwritten digits, pixel by pixel or as the times of spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from inn.config.checks import check_at_least, check_idle, needs
from inn.config.parts import Options
from inn.data.examples import Examples
from inn.data.tasks.base import PARTS, Task
from inn.data.tasks.own import at_last_step
from inn.system.packages import require

SIZES = (1300, 197, 300)
"""Images of train, valid and test."""
_SILENT = 0.05  # grey below which a pixel sends no spike


@dataclass
class DigitsOptions(Options):
    """Images of digits, 8 by 8, as sequences."""

    form: Literal["pixels", "spikes"] = "pixels"
    """pixels: 64 steps of one channel; spikes: a channel for each pixel, which spikes once, early if bright."""
    steps: int = needs(16, "form", "spikes".__eq__, "spikes")
    """Steps in which pixels spike."""
    seed: int = 0
    """Seed of the split."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_idle(self)
        check_at_least(self, 2, "steps")
        check_at_least(self, 0, "seed")


class Digits(Task):
    """Which digit a small image shows, at its last step: 1,300 images to train, 197 and 300 held out."""

    Options = DigitsOptions
    signal = True

    @property
    def channels(self) -> list[str]:
        return ["grey"] if self.options.form == "pixels" else [f"pixel{i}" for i in range(64)]

    @property
    def classes(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def part(self, name: str) -> Examples:
        found = require("sklearn.datasets", "task 'digits'", "sklearn").load_digits()
        at = PARTS.index(name)
        order = np.random.default_rng(self.options.seed).permutation(len(found.data))
        chosen = order[sum(SIZES[:at]) : sum(SIZES[: at + 1])]
        grey = (found.data[chosen] / 16).astype(np.float32)
        inputs = grey[:, :, None] if self.options.form == "pixels" else spikes(grey, self.options.steps)
        starts = np.arange(len(chosen) + 1, dtype=np.int64) * inputs.shape[1]
        labels = found.target[chosen].astype(np.int64)
        return Examples(inputs.reshape(-1, inputs.shape[2]), at_last_step(labels, starts), starts)


def spikes(grey: np.ndarray, steps: int) -> np.ndarray:
    """Latencies: a pixel of grey x spikes at step round((1 - x)(T - 1)), one below 0.05 never: `[n, P]` -> `[n, T, P]`.

    >>> spikes(np.array([[1.0, 0.5, 0.0]]), 3)[0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    at = np.rint((1 - grey) * (steps - 1)).astype(int)
    fired = (at[:, None, :] == np.arange(steps)[:, None]) & (grey >= _SILENT)[:, None, :]
    return fired.astype(np.float32)
