"""Chaotic systems: ten to train on, ten others that a model has not seen; the next step is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, Literal

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import Examples
from inn.data.tasks.attractors import ATTRACTORS, TRAIN, Attractor
from inn.data.tasks.base import Task, TaskOptions
from inn.data.tasks.flow import trajectory
from inn.data.tasks.own import ahead
from inn.system.errors import InputError, lookup
from inn.system.packages import require

_APART = 0.02  # standard deviations around the starting point in which trajectories begin
_FORGOTTEN = 6.0  # Lyapunov times until nothing is left of that
_TRIES = 20
_FAR = 50.0  # standard deviations: on no attractor
_ESCAPE = {"SprottJerk", "SprottL", "SprottQ", "TurchinHanski"}  # of dysts: nearly all that begins beside them leaves


@dataclass
class ChaosOptions(TaskOptions):
    """Trajectories of chaotic systems in three dimensions; the next step is told."""

    systems: str = "train"
    """train: the ten to train on; unseen: ten others; all; or the name of one."""
    family: Literal["own", "dysts"] = "own"
    """own: the twenty systems of this library; dysts: those of the package dysts in three dimensions, every other one
    (by name) to train on."""
    sequences: int = 1000
    """Sequences of the training part, the systems in turn."""
    length: int = 128
    """Steps of a sequence; about 25 are a turn around the attractor."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "length")
        check_at_least(self, 1, "sequences")


class Chaos(Task):
    """The next step of chaotic systems, each standardised by its mean and deviation: a fixed set of trajectories."""

    Options = ChaosOptions
    signal = True
    metric = "rmse"

    @property
    def channels(self) -> list[str]:
        return ["x", "y", "z"]

    @cached_property
    def systems(self) -> dict[str, Attractor]:
        """The systems that sequences come from, in turn: sequence i is of number i modulo their count."""
        family, chosen = self._family, self.options.systems
        groups = {
            "train": [name for name in family if name in self._train],
            "unseen": [name for name in family if name not in self._train],
            "all": list(family),
        }
        names = lookup("chaotic system", chosen, {**groups, **{name: [name] for name in family}})
        return {name: family[name] for name in names}

    @property
    def _family(self) -> Mapping[str, Attractor]:
        return ATTRACTORS if self.options.family == "own" else dysts_attractors()

    @property
    def _train(self) -> list[str]:
        return TRAIN if self.options.family == "own" else sorted(self._family)[::2]

    def part(self, name: str) -> Examples:
        if name not in self._made:
            count = self.options.sequences if name == "train" else self.options.examples
            self._made[name] = self.draw(self.rng(name), count)
        return self._made[name]

    @cached_property
    def _made(self) -> dict[str, Examples]:
        return {}

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        states = np.empty((count, self.options.length, 3), np.float32)
        for i, system in enumerate(self.systems.values()):
            states[i :: len(self.systems)] = self._drawn(rng, system, len(range(i, count, len(self.systems))))
        found = Examples.equal(states, states)
        return Examples(found.inputs, ahead(found.inputs, found.starts, 1), found.starts)

    def _drawn(self, rng: np.random.Generator, system: Attractor, count: int) -> np.ndarray:
        """Trajectories of one system, standardised, `[n, T, 3]`; those that leave for infinity are drawn again."""
        mean, scale = np.array(system.mean), np.array(system.scale)
        before = round(_FORGOTTEN * system.steps)
        kept = np.empty((0, self.options.length, 3))
        for _ in range(_TRIES):
            x = np.array(system.start) + _APART * scale * rng.standard_normal((count - len(kept), 3))
            with np.errstate(all="ignore"):
                x = trajectory(system.rate, x, system.step, before, system.inner // 2)[-1]
                states = trajectory(system.rate, x, system.step, self.options.length, system.inner)
            states = ((states - mean) / scale).swapaxes(0, 1)
            kept = np.concatenate([kept, states[(np.abs(states) < _FAR).all((1, 2))]])
            if len(kept) == count:
                return kept
        raise InputError(
            f"a system of family '{self.options.family}' does not stay in bounds; choose others by systems"
        )


def _rates(flow: Any, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, ...]:
    """The rates of change of states `[n]` by a flow of dysts, whose equations are asked for `[n, 3]`."""
    return flow.rhs(np.stack([x, y, z], -1), 0.0)


@cache
def dysts_attractors() -> dict[str, Attractor]:
    """The flows in three dimensions of the package dysts that are bounded and take many states at once."""
    flows = require("dysts.flows", "task 'chaos' with family 'dysts'", "chaos")
    listed = require("dysts.systems", "task 'chaos' with family 'dysts'", "chaos").get_attractor_list()
    found = {}
    for name in listed:
        flow = getattr(flows, name)()
        if flow.dimension != 3 or len(flow.unbounded_indices or ()) or name in _ESCAPE:
            continue
        try:
            attractor = Attractor(
                partial(_rates, flow),
                *(tuple(np.asarray(a, float).tolist()) for a in (flow.ic, flow.mean, flow.std)),
                step=flow.period / 25,
                lyapunov=flow.maximum_lyapunov_estimated,
                inner=16,  # some of them are stiff
            )
            if attractor.rate(np.ones((4, 3)) * attractor.start).shape == (4, 3):
                found[name] = attractor
        except (ValueError, TypeError):  # written for one state at a time
            continue
    return found
