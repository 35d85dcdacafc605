"""A hidden Markov model: its symbols are observed, and the next one, or the hidden state, is to be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from inn.config.checks import check_at_least, check_fraction
from inn.data.examples import Examples
from inn.data.tasks.base import Task
from inn.data.tasks.chains import TableOptions, drawn


@dataclass
class HmmOptions(TableOptions):
    """At every step of a hidden Markov model: what is the next symbol, or the hidden state?"""

    states: int = 4
    """Hidden states."""
    target: Literal["next", "state"] = "next"
    """What is to be told: the next symbol, or the hidden state."""
    stay: float = 0.95
    """Probability that the hidden state stays the same for a step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "states")
        check_fraction(self, "stay")


class Hmm(Task):
    """A hidden Markov model with random tables; `optimal_loss` is what the forward algorithm reaches.

    Symbols: `s0`, ...; where states are told, also the states `z0`, ...
    """

    Options = HmmOptions

    def __init__(self, options: Any):
        super().__init__(options)
        rng, o = np.random.default_rng([options.tables]), options
        jumps = rng.dirichlet(np.full(o.states - 1, 1.0), o.states)
        self.transitions = np.full((o.states, o.states), o.stay)
        self.transitions[~np.eye(o.states, dtype=bool)] = (1 - o.stay) * jumps.ravel()
        self.emissions = rng.dirichlet(np.full(o.symbols, 0.3), o.states)

    @property
    def names(self) -> list[str]:
        o = self.options
        return [f"s{i}" for i in range(o.symbols)] + [f"z{i}" for i in range(o.states) if o.target == "state"]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        o = self.options
        states = np.empty((count, o.length + 1), np.int64)
        states[:, 0] = rng.integers(0, o.states, count)
        for t in range(o.length):
            states[:, t + 1] = drawn(rng, self.transitions[states[:, t]])
        seen = drawn(rng, self.emissions[states])
        told = seen[:, 1:] if o.target == "next" else o.symbols + states[:, :-1]
        return Examples.equal(seen[:, :-1], told)

    def optimal_loss(self, examples: Examples) -> float:
        """The loss of the best prediction that can be made of what was read, in nats per target (forward algorithm)."""
        inputs, targets, _ = examples.padded()
        state = np.full((len(inputs), self.options.states), 1 / self.options.states)
        rows, nats = np.arange(len(inputs)), 0.0
        for t in range(inputs.shape[1]):
            state = state * self.emissions[:, inputs[:, t]].T
            state /= state.sum(1, keepdims=True)
            after = state @ self.transitions
            if self.options.target == "state":
                nats -= np.log(state[rows, targets[:, t] - self.options.symbols]).sum()
            else:
                nats -= np.log((after @ self.emissions)[rows, targets[:, t]]).sum()
            state = after
        return float(nats) / examples.counted
