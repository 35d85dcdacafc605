"""Twenty chaotic systems of three variables: ten to learn from, ten that are never seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import Examples
from inn.data.tasks.base import PARTS, Task, TaskOptions

Rate = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple]


@dataclass(frozen=True)
class System:
    """A system: its equations of x, y, z, a place near its attractor, and the time between two steps of its series."""

    rate: Rate
    start: tuple[float, float, float]
    dt: float


SYSTEMS: dict[str, System] = {
    # To learn from; the Sprott systems are those of Phys. Rev. E 50, R647 (1994).
    "Lorenz": System(lambda x, y, z: (10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z), (1, 1, 20), 0.03),
    "Sprott B": System(lambda x, y, z: (y * z, x - y, 1 - x * y), (1, 1, 0), 0.2),
    "Chen": System(lambda x, y, z: (35 * (y - x), -7 * x - x * z + 28 * y, x * y - 3 * z), (1, 1, 20), 0.01),
    "Sprott F": System(lambda x, y, z: (y + z, -x + 0.5 * y, x**2 - z), (0.1, 0, 0), 0.25),
    "Sprott H": System(lambda x, y, z: (-y + z**2, x + 0.5 * y, x - z), (0.1, 0, 0), 0.25),
    "Sprott K": System(lambda x, y, z: (x * y - z, x - y, x + 0.3 * z), (0.1, 0, 0), 0.25),
    "Sprott M": System(lambda x, y, z: (-z, -(x**2) - y, 1.7 + 1.7 * x + y), (0.1, 0.1, 0), 0.2),
    "Sprott O": System(lambda x, y, z: (y, x - z, x + x * z + 2.7 * y), (0.1, 0, 0), 0.2),
    "Sprott Q": System(lambda x, y, z: (-z, x - y, 3.1 * x + y**2 + 0.5 * z), (0.1, 0, 0), 0.2),
    "Sprott S": System(lambda x, y, z: (-x - 4 * y, x + z**2, 1 + x), (0.1, 0, 0), 0.15),
    # Never seen in training.
    "Rossler": System(lambda x, y, z: (-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)), (1, 1, 0), 0.25),
    "Halvorsen": System(
        lambda x, y, z: (
            -1.4 * x - 4 * y - 4 * z - y**2,
            -1.4 * y - 4 * z - 4 * x - z**2,
            -1.4 * z - 4 * x - 4 * y - x**2,
        ),
        (-5, 0, 0),
        0.04,
    ),
    "Sprott E": System(lambda x, y, z: (y * z, x**2 - y, 1 - 4 * x), (0.1, 0.1, 0), 0.2),
    "Sprott G": System(lambda x, y, z: (0.4 * x + z, x * z - y, -x + y), (0.1, 0, 0), 0.25),
    "Sprott I": System(lambda x, y, z: (-0.2 * y, x + z, x + y**2 - z), (0.1, 0, 0), 0.5),
    "Sprott J": System(lambda x, y, z: (2 * z, -2 * y + z, -x + y + y**2), (0.1, 0, 0), 0.2),
    "Sprott L": System(lambda x, y, z: (y + 3.9 * z, 0.9 * x**2 - y, 1 - x), (0.1, 0.1, 0), 0.15),
    "Sprott N": System(lambda x, y, z: (-2 * y, x + z**2, 1 + y - 2 * z), (0.1, 0, 0), 0.2),
    "Sprott P": System(lambda x, y, z: (2.7 * y + z, -x + y**2, x + y), (0.1, 0, 0), 0.2),
    "Sprott R": System(lambda x, y, z: (0.9 - y, 0.4 + z, x * y - z), (0.1, 0, 0), 0.25),
}
TRAINED = 10
"""So many of them, the first, are learned from."""
_INNER = 3  # steps of integration between two of the series
_SETTLED, _STEPS, _EACH = 400, 600, 24  # steps left out, steps of a trajectory, and trajectories of each part


@dataclass
class FlowsOptions(TaskOptions):
    """Chaotic systems of three variables: the next step."""

    systems: Literal["trained", "unseen"] = "trained"
    """Ten systems, or ten others."""
    length: int = 128
    """Steps of a sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "length")


class Flows(Task):
    """The next step of a chaotic system; which one it is, is seen from the steps so far. Each part has trajectories of
    its own, and each system is scaled to mean 0 and standard deviation 1."""

    Options = FlowsOptions
    signal = True
    metric = "rmse"

    @property
    def channels(self) -> list[str]:
        return ["x", "y", "z"]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        return self._cut(rng, count, "train")

    def part(self, name: str) -> Examples | None:
        return None if name == "train" else self._cut(self.rng(name), self.options.examples, name)

    def _cut(self, rng: np.random.Generator, count: int, part: str) -> Examples:
        names = systems(self.options.systems)
        chosen, which = rng.integers(0, len(names), count), rng.integers(0, _EACH, count)
        at = rng.integers(0, _STEPS - self.options.length, count)[:, None] + np.arange(self.options.length + 1)
        steps = np.stack([series(name, part) for name in names])[chosen[:, None], which[:, None], at]
        return Examples.equal(steps[:, :-1], steps[:, 1:].copy())


def systems(which: str) -> list[str]:
    """The names of those that are `trained` on, or of the `unseen` ones."""
    names = list(SYSTEMS)
    return names[:TRAINED] if which == "trained" else names[TRAINED:]


def series(name: str, part: str) -> np.ndarray:
    """Trajectories `[n, T, 3]` float32 of a part, scaled to mean 0 and standard deviation 1 by those of training."""
    found = trajectories(name)
    return ((found[PARTS.index(part)] - found[0].mean((0, 1))) / found[0].std((0, 1))).astype(np.float32)


@cache
def trajectories(name: str) -> np.ndarray:
    """Trajectories on a system's attractor, of each part `[3, n, T, 3]`, from starts near one another."""
    system = SYSTEMS[name]
    x = np.array(system.start) + 0.003 * np.random.default_rng(5).standard_normal((len(PARTS), _EACH, 3))
    found = np.empty((_STEPS, *x.shape))
    for step in range(-_SETTLED, _STEPS):
        if step >= 0:
            found[step] = x
        x = advanced(system, x)
    return np.moveaxis(found, 0, 2)


def advanced(system: System, x: np.ndarray) -> np.ndarray:
    """The states `[..., 3]` one step of the series later, by the classical Runge-Kutta method."""
    h = system.dt / _INNER
    for _ in range(_INNER):
        a = _rate(system, x)
        b = _rate(system, x + h / 2 * a)
        c = _rate(system, x + h / 2 * b)
        d = _rate(system, x + h * c)
        x = x + h / 6 * (a + 2 * (b + c) + d)
    return x


def _rate(system: System, x: np.ndarray) -> np.ndarray:
    return np.stack(np.broadcast_arrays(*system.rate(x[..., 0], x[..., 1], x[..., 2])), -1)


@cache
def exponent(name: str, steps: int = 300) -> float:
    """The largest Lyapunov exponent per step of the series, from pairs that are brought together after each step."""
    system = SYSTEMS[name]
    x = trajectories(name)[:, :, ::200].reshape(-1, 3)
    away = np.random.default_rng(9).standard_normal(x.shape)
    away *= 1e-7 / np.linalg.norm(away, axis=-1, keepdims=True)
    grown = 0.0
    for step in range(-50, steps):
        x, near = advanced(system, np.stack([x, x + away]))
        distance = np.linalg.norm(near - x, axis=-1, keepdims=True)
        away = (near - x) * (1e-7 / distance)
        grown += float(np.log(distance / 1e-7).mean()) if step >= 0 else 0.0
    return grown / steps
