"""The adding problem: the sum of the two numbers that are marked, asked for at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import Examples
from inn.data.tasks.base import Task, TaskOptions


@dataclass
class AddingOptions(TaskOptions):
    """The sum of two marked numbers among many."""

    length: int = 100
    """Steps of a sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "length")


class Adding(Task):
    """Numbers from 0 to 1, one of each half of the sequence marked; at the last step, the sum of the two.

    One that always tells the mean, 1, is off by sqrt(1/6) = 0.408.
    """

    Options = AddingOptions
    signal = True
    metric = "rmse"

    @property
    def channels(self) -> list[str]:
        return ["number", "mark"]

    @property
    def values(self) -> list[str]:
        return ["sum"]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        steps = self.options.length
        inputs = np.zeros((count, steps, 2), np.float32)
        inputs[:, :, 0] = rng.random((count, steps), np.float32)
        rows = np.arange(count)
        marked = np.stack([rng.integers(0, steps // 2, count), rng.integers(steps // 2, steps, count)], 1)
        inputs[rows[:, None], marked, 1] = 1
        targets = np.full((count, steps, 1), np.nan, np.float32)
        targets[:, -1, 0] = inputs[rows[:, None], marked, 0].sum(1)
        return Examples.equal(inputs, targets)
