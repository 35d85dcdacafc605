"""What is stored, then noise, then what is asked: the form that `needle`, `causal` and `accumulate` share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import TaskOptions
from inn.system.errors import InputError

_MOST = 2**25  # steps of the examples of a part: half a gigabyte


@dataclass
class NoiseOptions(TaskOptions):
    """What every task has that stores something over a stretch of noise."""

    noise: int = 61
    """Steps of noise between what is stored and what is asked; a sequence has three steps more."""
    fillers: int = 8
    """Symbols that the noise is made of."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "noise")
        check_at_least(self, 1, "fillers")
        if self.examples > 1 and self.examples * self.noise > _MOST:
            raise InputError(
                f"examples {self.examples} of {self.noise} steps of noise do not fit into memory;"
                f" take {max(1, _MOST // self.noise)} examples or fewer"
            )


def fillers(count: int) -> list[str]:
    """The names of the symbols of noise."""
    return [f"n{i}" for i in range(count)]


def asked_after_noise(
    rng: np.random.Generator, options: NoiseOptions, first: int, stored: list[np.ndarray], ask: np.ndarray,
    answer: np.ndarray,
) -> Examples:  # fmt: skip
    """Sequences of what is stored, noise of the symbols from `first` on, and a last step that asks; all `[n]`."""
    steps = len(stored) + options.noise + 1
    inputs = np.empty((len(ask), steps), np.int64)
    inputs[:, : len(stored)] = np.stack(stored, 1)
    inputs[:, len(stored) : -1] = rng.integers(first, first + options.fillers, (len(ask), options.noise))
    inputs[:, -1] = ask
    targets = np.full_like(inputs, IGNORED)
    targets[:, -1] = answer
    return Examples.equal(inputs, targets)
