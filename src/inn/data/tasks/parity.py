"""Parity: at every step, whether the ones so far are odd in number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import Examples
from inn.data.tasks.base import Task, TaskOptions


@dataclass
class ParityOptions(TaskOptions):
    """At every step: are the ones so far odd in number?"""

    length: int = 40
    """Steps of a sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "length")


class Parity(Task):
    """At every step, whether the ones so far are odd in number: two states that have to be counted."""

    Options = ParityOptions

    @property
    def names(self) -> list[str]:
        return ["0", "1"]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        bits = rng.integers(0, 2, (count, self.options.length))
        return Examples.equal(bits, bits.cumsum(1) % 2)
