"""ListOps (Nangia & Bowman 2018): nested minima, maxima, medians and sums of digits, the value asked at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import Task, TaskOptions
from inn.system.errors import InputError

_OPERATORS = ["[MIN", "[MAX", "[MED", "[SM"]
_CLOSE = 10 + len(_OPERATORS)


@dataclass
class ListopsOptions(TaskOptions):
    """What is the value of a nested expression of MIN, MAX, MED and SM (sum modulo 10) of digits?"""

    length: int = 40
    """Steps of a sequence, at most; many are shorter."""
    depth: int = 3
    """Lists within one another, at most, the outermost counted."""
    arguments: int = 5
    """Arguments of a list, at most; there are two at least."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "depth")
        check_at_least(self, 2, "arguments")
        if self.length < 4:
            raise InputError(f"length {self.length} holds no list, such as [MIN 1 2 ]; take 4 steps or more")


class Listops(Task):
    """Nested lists of digits with an operator each. The median of an even number is the lower of the two in the middle.

    Symbols: the digits, `[MIN`, `[MAX`, `[MED`, `[SM`, and `]`.
    """

    Options = ListopsOptions

    @property
    def names(self) -> list[str]:
        return [*map(str, range(10)), *_OPERATORS, "]"]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        """All expressions are written a step at a time. Of each open list there are its operator and its arguments so
        far; `owed` is how many steps it takes, at least, to close all that is open."""
        o, n, rows = self.options, count, np.arange(count)
        digits, chance = rng.integers(0, 10, (o.length, n)), rng.random((o.length, n))
        operators = rng.integers(0, len(_OPERATORS), (o.length, n))
        inputs, targets = np.zeros((n, o.length), np.int64), np.full((n, o.length), IGNORED)
        held = np.zeros((n, o.depth + 1, o.arguments), np.int64)  # level 0 gets the value of the whole
        operator, filled = np.zeros((n, o.depth + 1), np.int64), np.zeros((n, o.depth + 1), np.int64)
        depth, owed, lengths = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
        for t in range(o.length):
            left, have = o.length - t, filled[rows, depth]
            few, going = (have < 2) & (depth > 0), lengths == 0
            opens = (depth == 0) | ((depth < o.depth) & (owed - few + 4 <= left) & (chance[t] < 0.35))
            opens &= (have < o.arguments) & going
            full = (have == o.arguments) | (owed == left) | (chance[t] > 0.85)
            closes = going & ~opens & ~few & (depth > 0) & full
            term = going & ~opens & ~closes
            inputs[:, t] = np.select([opens, closes], [10 + operators[t], _CLOSE], digits[t])
            value = np.where(closes, _value(held[rows, depth], have, operator[rows, depth]), digits[t])
            owed += np.where(opens, 3 - few, np.where(closes, -1, np.where(term & few, -1, 0)))
            depth = depth - closes
            at = np.where(closes | term, filled[rows, depth], 0)
            held[rows, depth, at] = np.where(closes | term, value, held[rows, depth, at])
            filled[rows, depth] += closes | term
            depth = depth + opens
            operator[rows, depth] = np.where(opens, operators[t], operator[rows, depth])
            filled[rows, depth] = np.where(opens, 0, filled[rows, depth])
            ends = closes & (depth == 0)
            targets[ends, t], lengths[ends] = value[ends], t + 1
            if lengths.all():
                break
        return Examples.cut(inputs, targets, lengths)


def _value(held: np.ndarray, count: np.ndarray, operator: np.ndarray) -> np.ndarray:
    """The value of each list: of `held [n, arguments]` the first `count [n]`."""
    there = np.arange(held.shape[1]) < count[:, None]
    ordered = np.sort(np.where(there, held, 10), 1)
    rows, last = np.arange(len(held)), np.maximum(count - 1, 0)
    options = [ordered[:, 0], ordered[rows, last], ordered[rows, last // 2]]
    return np.select([operator == i for i in range(3)], options, np.where(there, held, 0).sum(1) % 10)
