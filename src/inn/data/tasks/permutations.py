"""Permutations: the word problem of a symmetric group, the product so far at every step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Literal

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import Examples
from inn.data.tasks.base import Task, TaskOptions


@dataclass
class PermutationsOptions(TaskOptions):
    """At every step: what is the product of the permutations so far?"""

    group: Literal["S3", "S5"] = "S3"
    """All permutations of three or of five things."""
    length: int = 40
    """Steps of a sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "length")


class Permutations(Task):
    """The product of the permutations so far: 6 (S3) or 120 (S5) states, which do not commute."""

    Options = PermutationsOptions

    @property
    def names(self) -> list[str]:
        return symmetric(int(self.options.group[1:]))[0]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        _, product = symmetric(int(self.options.group[1:]))
        inputs = rng.integers(0, len(product), (count, self.options.length))
        targets = np.empty_like(inputs)
        state = np.zeros(count, np.int64)
        for t in range(inputs.shape[1]):
            targets[:, t] = state = product[state, inputs[:, t]]
        return Examples.equal(inputs, targets)


@cache
def symmetric(things: int) -> tuple[list[str], np.ndarray]:
    """A symmetric group: the names of its elements, the one that changes nothing first, and its products `[G, G]`.

    `product[p, q]` is p, and then q: it takes i to q[p[i]].

    >>> names, product = symmetric(3)
    >>> names[product[names.index("102"), names.index("021")]]
    '201'
    """
    elements = np.array(list(permutations(range(things))))
    digits = things ** np.arange(things - 1, -1, -1)
    number = np.zeros(things**things, np.int64)
    number[elements @ digits] = np.arange(len(elements))
    after = elements[:, elements].swapaxes(0, 1)  # [p, q, i] = q[p[i]]
    return ["".join(map(str, e)) for e in elements], number[after @ digits]
