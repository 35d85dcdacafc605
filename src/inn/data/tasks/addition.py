"""Addition of two numbers, each one symbol, with steps to think before the sum is asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import Task, TaskOptions
from inn.system.errors import InputError


@dataclass
class AdditionOptions(TaskOptions):
    """What is a + b? Two symbols, then blank steps, and the sum at the last."""

    numbers: int = 10
    """a and b are from 0 to one below; the sums have symbols, too."""
    least: int = 0
    """The smallest b."""
    most: int = 5
    """The largest b."""
    steps: int = 12
    """Blank steps after a and b: who adds one by one needs b of them, one to take a and one to tell the sum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "numbers")
        check_at_least(self, 0, "least")
        if not self.least <= self.most < self.numbers:
            raise InputError(
                f"b is from least {self.least} to most {self.most}, which must lie in this order from 0 to "
                f"{self.numbers - 1}; change numbers, least or most"
            )
        if self.steps < self.most + 2:
            raise InputError(
                f"steps {self.steps} are too few to add {self.most} one by one, with one to take a and one to tell the "
                f"sum; set steps to {self.most + 2} or more"
            )


class Addition(Task):
    """a, b, blanks; the sum is asked at the last. Numbers in between the training's, or beyond, have other options.

    Symbols: the numbers up to the largest sum of any two, and `.` where there is nothing.
    """

    Options = AdditionOptions

    @property
    def names(self) -> list[str]:
        return [*map(str, range(2 * self.options.numbers - 1)), "."]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        o = self.options
        a, b = rng.integers(0, o.numbers, count), rng.integers(o.least, o.most + 1, count)
        inputs = np.full((count, 2 + o.steps), len(self.names) - 1)
        inputs[:, 0], inputs[:, 1] = a, b
        targets = np.full_like(inputs, IGNORED)
        targets[:, -1] = a + b
        return Examples.equal(inputs, targets)
