"""A mixture of Markov sources: each sequence comes from one of them, which has to be found out by reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import Examples
from inn.data.tasks.base import Task
from inn.data.tasks.chains import TableOptions, drawn, log_sum


@dataclass
class MarkovOptions(TableOptions):
    """At every step of a sequence from one of several Markov sources: what is the next symbol?"""

    sources: int = 4
    """Sources, each with a table of transitions of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "sources")


class Markov(Task):
    """A mixture of Markov sources with random tables; `optimal_loss` is Bayes' mixture over the sources.

    Symbols: `s0`, ...
    """

    Options = MarkovOptions

    def __init__(self, options: Any):
        super().__init__(options)
        rng, o = np.random.default_rng([options.tables]), options
        self.transitions = rng.dirichlet(np.full(o.symbols, 0.5), (o.sources, o.symbols)) + 1e-6
        self.transitions /= self.transitions.sum(-1, keepdims=True)

    @property
    def names(self) -> list[str]:
        return [f"s{i}" for i in range(self.options.symbols)]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        o = self.options
        source = rng.integers(0, o.sources, count)
        seen = np.empty((count, o.length + 1), np.int64)
        seen[:, 0] = rng.integers(0, o.symbols, count)
        for t in range(o.length):
            seen[:, t + 1] = drawn(rng, self.transitions[source, seen[:, t]])
        return Examples.equal(seen[:, :-1], seen[:, 1:])

    def optimal_loss(self, examples: Examples) -> float:
        """The loss of the best prediction that can be made of what was read, in nats per target."""
        inputs, targets, _ = examples.padded()
        steps = np.log(self.transitions)[:, inputs, targets].transpose(1, 2, 0)  # [n, T, source]
        # the probability of all that was read is a mean over sources; its last value holds the whole sequence
        whole = log_sum(steps.sum(1)) - np.log(self.options.sources)
        return -float(whole.sum()) / examples.counted
