"""Lorenz's model of 1996: a ring of numbers that push one another, forced and damped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import Examples
from inn.data.tasks.base import Task, TaskOptions
from inn.data.tasks.flow import trajectory
from inn.data.tasks.own import ahead
from inn.system.errors import InputError

_SETTLED = 10.0  # time from the rest state, disturbed, to the attractor
_LONGEST = 0.05  # of a step of integration, as is usual


@dataclass
class Lorenz96Options(TaskOptions):
    """A ring of numbers that push one another; the next step is told."""

    dimension: int = 8
    """Numbers on the ring (channels)."""
    forcing: float = 8.0
    """What drives all of them; chaotic from about 4 with many, from about 6 with few."""
    dt: float = 0.05
    """Time from one step to the next; 0.05 is six hours of weather."""
    length: int = 128
    """Steps of a sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 4, "dimension")
        check_at_least(self, 2, "length")
        if not 0 < self.dt <= 10:
            raise InputError(f"dt must be above 0 and at most 10, not {self.dt}")
        if not -30 <= self.forcing <= 30:
            raise InputError(f"forcing must be from -30 to 30, where the steps are short enough, not {self.forcing}")


class Lorenz96(Task):
    """The next step of dx_i/dt = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F on a ring (Lorenz 1996)."""

    Options = Lorenz96Options
    signal = True
    metric = "rmse"

    @property
    def channels(self) -> list[str]:
        return [f"x{i}" for i in range(self.options.dimension)]

    def rate(self, x: np.ndarray) -> np.ndarray:
        """The equations, `[..., D]` to `[..., D]`."""
        ring = np.concatenate([x[..., -2:], x, x[..., :1]], -1)  # x_{i-2} ... x_{i+1} stand side by side
        return (ring[..., 3:] - ring[..., :-3]) * ring[..., 1:-2] - x + self.options.forcing

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        options = self.options
        x = options.forcing + rng.standard_normal((count, options.dimension))
        x = trajectory(self.rate, x, _LONGEST, round(_SETTLED / _LONGEST) + 1)[-1]
        inner = int(np.ceil(options.dt / _LONGEST - 1e-9))
        states = trajectory(self.rate, x, options.dt, options.length, inner).astype(np.float32)
        found = Examples.equal(states.swapaxes(0, 1), states.swapaxes(0, 1))
        return Examples(found.inputs, ahead(found.inputs, found.starts, 1), found.starts)
