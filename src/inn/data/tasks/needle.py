"""Needle: a key and its value, a long stretch of noise, then the key again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import Examples
from inn.data.tasks.base import Task
from inn.data.tasks.noise import NoiseOptions, asked_after_noise, fillers


@dataclass
class NeedleOptions(NoiseOptions):
    """After a key, its value and a stretch of noise, the key again: what was its value?"""

    keys: int = 8
    """Keys that there are."""
    values: int = 8
    """Values that there are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "keys")
        check_at_least(self, 2, "values")


class Needle(Task):
    """One value that has to be kept over any number of steps.

    Symbols: values `v0`, ..., keys `k0`, ..., noise `n0`, ...
    """

    Options = NeedleOptions

    @property
    def names(self) -> list[str]:
        o = self.options
        return [*(f"v{i}" for i in range(o.values)), *(f"k{i}" for i in range(o.keys)), *fillers(o.fillers)]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        o = self.options
        key = o.values + rng.integers(0, o.keys, count)
        value = rng.integers(0, o.values, count)
        return asked_after_noise(rng, o, o.values + o.keys, [key, value], key, value)
