"""Causal logic: two booleans are stored, and what is to be made of them is said after a long stretch of noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from inn.data.examples import Examples
from inn.data.tasks.base import Task
from inn.data.tasks.noise import NoiseOptions, asked_after_noise, fillers
from inn.system.errors import InputError

_OPERATORS = {
    "and": [0, 0, 0, 1], "or": [0, 1, 1, 1], "xor": [0, 1, 1, 0],
    "nand": [1, 1, 1, 0], "nor": [1, 0, 0, 0], "implies": [1, 1, 0, 1],
}  # fmt: skip
"""The results for the booleans 00, 01, 10, 11."""


@dataclass
class CausalOptions(NoiseOptions):
    """After two booleans and a stretch of noise, an operator: what is its result?"""

    operators: list[Literal["and", "or", "xor", "nand", "nor", "implies"]] = field(
        default_factory=lambda: ["and", "or", "xor"]
    )
    """Operators that are asked for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.operators or len(set(self.operators)) < len(self.operators):
            raise InputError(f"operators {self.operators} must be one or more, each once; choose of {[*_OPERATORS]}")


class Causal(Task):
    """Two booleans, noise, an operator. Symbols: `0`, `1`, the operators, noise `n0`, ..."""

    Options = CausalOptions

    @property
    def names(self) -> list[str]:
        return ["0", "1", *self.options.operators, *fillers(self.options.fillers)]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        operators = self.options.operators
        a, b = rng.integers(0, 2, (2, count))
        chosen = rng.integers(0, len(operators), count)
        answer = np.array([_OPERATORS[name] for name in operators])[chosen, 2 * a + b]
        return asked_after_noise(rng, self.options, 2 + len(operators), [a, b], 2 + chosen, answer)
