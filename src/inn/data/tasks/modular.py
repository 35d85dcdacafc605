"""Modular arithmetic: running sums, expressions with brackets, and the table of a + b mod p with corrupted labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from inn.config.checks import check_at_least, check_fraction, check_idle, needs
from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import PARTS, Task, TaskOptions
from inn.system.errors import InputError

_SIGNS = ["+", "-", "*", "(", ")", "="]
_TABLE = 3  # the number of its random stream, after those of the parts


@dataclass
class ModularOptions(TaskOptions):
    """What is the sum, the expression with brackets, or a + b, modulo p?"""

    form: Literal["sum", "brackets", "table"] = "brackets"
    """sum: numbers, and at every step their sum so far. brackets: an expression read from left to right, brackets
    first, its value asked at the end. table: every pair a + b of the modulus, some of them to train on."""
    modulus: int = 5
    """p: numbers are 0 to p - 1."""
    length: int = needs(40, "form", lambda form: form != "table", "sum or brackets")
    """Steps of a sequence, the equals sign of an expression included."""
    shortest: int | None = needs(None, "form", lambda form: form != "table", "sum or brackets")
    """Steps of the shortest sequence, lengths are drawn from there to `length`; null: all are of one length."""
    depth: int = needs(3, "form", lambda form: form == "brackets", "brackets")
    """Brackets within one another, at most."""
    train: float = needs(0.5, "form", lambda form: form == "table", "table")
    """Share of the table to train on; validation and test have half of the rest each."""
    corrupted: float = needs(0.0, "form", lambda form: form == "table", "table")
    """Share of the training labels that are wrong."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_idle(self)
        check_at_least(self, 2, "modulus")
        check_at_least(self, 0, "depth")
        check_at_least(self, 1, "shortest")
        check_at_least(self, 1 if self.form == "sum" else 2, "length")
        check_fraction(self, "train", "corrupted")
        if self.shortest is not None and self.shortest > self.length:
            raise InputError(f"shortest {self.shortest} is longer than length {self.length}; lower it")
        if self.form == "table" and self.modulus < 3:
            raise InputError(f"the table of modulus {self.modulus} is too small for three parts; take 3 or more")
        if self.form == "table" and not 1 <= round(self.train * self.modulus**2) <= self.modulus**2 - 2:
            raise InputError(f"train {self.train} leaves a part of the table empty; take a share such as 0.5")
        odd = [n for n in (self.length, self.shortest or 2) if self.form == "brackets" and n % 2]
        if odd:
            raise InputError(f"an expression with its equals sign has an even number of steps, not {odd[0]}; add one")


class Modular(Task):
    """Arithmetic modulo p: states to be counted, brackets that need a stack, or a table to be grasped or memorised.

    Symbols: the numbers and, but for sums, `+`, `-`, `*`, `(`, `)`, `=`.
    """

    Options = ModularOptions

    @property
    def names(self) -> list[str]:
        return [*map(str, range(self.options.modulus)), *(_SIGNS if self.options.form != "sum" else [])]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        o = self.options
        if o.form == "table":
            train = self._table("train")
            return train.take(rng.integers(0, len(train), count))
        pace = 2 if o.form == "brackets" else 1  # expressions have an even number of steps
        shortest = o.length if o.shortest is None else o.shortest
        lengths = pace * rng.integers(shortest // pace, o.length // pace + 1, count)
        if o.form == "brackets":
            inputs, targets = expressions(rng, lengths, o.modulus, o.depth)
        else:
            inputs = rng.integers(0, o.modulus, (count, o.length))
            targets = inputs.cumsum(1) % o.modulus
        return Examples.cut(inputs, targets, lengths)

    def part(self, name: str) -> Examples | None:
        return self._table(name) if self.options.form == "table" else super().part(name)

    def _table(self, name: str) -> Examples:
        """The pairs of a part; `a + b =`, the sum asked at the equals sign."""
        o, p = self.options, self.options.modulus
        rng = np.random.default_rng([o.seed, _TABLE])
        pairs = rng.permutation(p * p)
        shift = np.where(rng.random(p * p) < o.corrupted, rng.integers(1, p, p * p), 0)
        first = round(o.train * p * p)
        bounds = [0, first, first + (p * p - first) // 2, p * p]
        at = slice(*bounds[PARTS.index(name) :][:2])
        a, b = np.divmod(pairs[at], p)
        label = (a + b + (shift[at] if name == "train" else 0)) % p
        inputs = np.stack([a, np.full_like(a, p), b, np.full_like(a, p + _SIGNS.index("="))], 1)
        targets = np.full_like(inputs, IGNORED)
        targets[:, -1] = label
        return Examples.equal(inputs, targets)


def expressions(rng: np.random.Generator, lengths: np.ndarray, p: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Random expressions of these lengths, with so many brackets within one another: inputs and targets `[n, T]`.

    All are written a step at a time. Of each open bracket there are its value so far, the sign before its next term and
    how many terms it has, two or more in the end; `owed` is how many steps it takes, at least, to close them all.
    """
    plus, opening, closing, equals = (p + _SIGNS.index(sign) for sign in "+()=")
    n, steps = len(lengths), int(lengths.max())
    rows, digits = np.arange(n), rng.integers(0, p, (steps, n))
    signs, chance = rng.integers(0, 3, (steps, n)), rng.random((steps, n))
    inputs, targets = np.zeros((n, steps), np.int64), np.full((n, steps), IGNORED)
    value, sign, terms = np.zeros((3, n, most + 1), np.int64)
    depth, owed, ready = np.zeros(n, np.int64), np.ones(n, np.int64), np.zeros(n, bool)  # ready: a term has just ended
    for t in range(steps):
        left, two = lengths - 1 - t, terms[rows, depth] > 1  # left: steps up to the equals sign, this one included
        opens = ~ready & (depth < most) & (owed + 4 <= left) & (chance[t] < 0.4)
        closes = ready & (depth > 0) & two & ((owed == left) | (chance[t] < 0.4))
        ends, term = ready & (left == 0), ~ready & ~opens
        goes_on = ready & ~closes & ~ends
        inputs[:, t] = np.select([opens, closes, ends, term], [opening, closing, equals, digits[t]], plus + signs[t])
        targets[ends, t] = value[ends, 0]
        owed += np.where(opens, 3, np.where(goes_on & (two | (depth == 0)), 1, -1))
        found = np.where(closes, value[rows, depth], digits[t])
        depth = depth + opens - closes
        before, how = value[rows, depth], sign[rows, depth]
        joined = np.select([how == 0, how == 1], [before + found, before - found], before * found) % p
        value[rows, depth] = np.where(opens, 0, np.where(term | closes, joined, before))
        sign[rows, depth] = np.where(opens, 0, np.where(goes_on, signs[t], how))
        terms[rows, depth] = np.where(opens, 0, terms[rows, depth] + (term | closes))
        ready = term | closes | ends
    return inputs, targets
