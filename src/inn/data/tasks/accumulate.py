"""Accumulate: two numbers are stored, and after a long stretch of noise their sum is asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import Examples
from inn.data.tasks.base import Task
from inn.data.tasks.noise import NoiseOptions, asked_after_noise, fillers


@dataclass
class AccumulateOptions(NoiseOptions):
    """After two numbers and a stretch of noise: what is their sum?"""

    largest: int = 9
    """The largest number; the smallest is 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "largest")


class Accumulate(Task):
    """Two numbers, noise, their sum. Symbols: the numbers from 0 to the largest sum, `=`, noise `n0`, ..."""

    Options = AccumulateOptions

    @property
    def names(self) -> list[str]:
        return [*map(str, range(2 * self.options.largest + 1)), "=", *fillers(self.options.fillers)]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        equals = 2 * self.options.largest + 1
        a, b = rng.integers(0, self.options.largest + 1, (2, count))
        return asked_after_noise(rng, self.options, equals + 1, [a, b], np.full(count, equals), a + b)
