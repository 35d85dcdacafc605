"""Machines: several finite machines interleaved in one stream; each has to be kept apart from the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import Examples
from inn.data.tasks.base import Task, TaskOptions
from inn.data.tasks.permutations import symmetric
from inn.system.errors import InputError


@dataclass
class MachinesOptions(TaskOptions):
    """At every step, which is a machine and a permutation: what is that machine's state?"""

    machines: int = 6
    """Machines that exist."""
    active: int = 2
    """Machines that take part in a sequence, at most: how many is drawn for each, and which."""
    least: int = 1
    """Machines that take part in a sequence, at least."""
    length: int = 32
    """Steps of a sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "machines", "active", "least", "length")
        check_active(self.active, self.least, self.machines, "machines")


class Machines(Task):
    """Machines whose states are the permutations of three things; a step moves one machine and asks for its state.

    Symbols: the states `012` to `210`, then for each machine its steps `m0:012`, ...
    """

    Options = MachinesOptions

    @property
    def names(self) -> list[str]:
        states, _ = symmetric(3)
        return states + [f"m{i}:{element}" for i in range(self.options.machines) for element in states]

    @property
    def actors(self) -> list[str | None]:
        states, _ = symmetric(3)
        return [None] * len(states) + [f"m{i}" for i in range(self.options.machines) for _ in states]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        o, (states, product) = self.options, symmetric(3)
        machine = interleaved(rng, count, o.length, o.machines, o.least, o.active)
        element = rng.integers(0, len(states), machine.shape)
        targets, rows = np.empty_like(machine), np.arange(count)
        state = np.zeros((count, o.machines), np.int64)
        for t in range(o.length):
            targets[:, t] = state[rows, machine[:, t]] = product[state[rows, machine[:, t]], element[:, t]]
        return Examples.equal(len(states) * (1 + machine) + element, targets)


def interleaved(rng: np.random.Generator, count: int, steps: int, exist: int, least: int, most: int) -> np.ndarray:
    """Whose step it is, `[count, steps]`: of those that exist, each sequence has its own few, as many as are drawn."""
    few = rng.integers(least, most + 1, (count, 1))
    order = rng.permuted(np.broadcast_to(np.arange(exist), (count, exist)), axis=1)
    return np.take_along_axis(order, rng.integers(0, few, (count, steps)), 1)


def check_active(active: int, least: int, exist: int, what: str) -> None:
    """Raise `InputError` where not so many can take part."""
    if active > exist:
        raise InputError(f"active {active} are more than the {exist} {what} that exist; lower it, or raise {what}")
    if least > active:
        raise InputError(f"least {least} is above active {active}; lower it")
