"""Random tables of probabilities, and draws from them: what `hmm` and `markov` share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.tasks.base import TaskOptions


@dataclass
class TableOptions(TaskOptions):
    """What every task has whose symbols come from random tables of probabilities."""

    symbols: int = 8
    """Symbols that there are."""
    length: int = 64
    """Steps of a sequence."""
    tables: int = 0
    """Seed of the tables, which are the same for all parts and all seeds of the data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "symbols")
        check_at_least(self, 1, "length")
        check_at_least(self, 0, "tables")


def drawn(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """A draw from each row of probabilities `[..., K]`."""
    below = rows.cumsum(-1)[..., :-1] < rng.random(rows.shape[:-1])[..., None]
    return below.sum(-1)


def log_sum(logs: np.ndarray) -> np.ndarray:
    """The logarithm of the sum over the last axis, from logarithms."""
    top = logs.max(-1, keepdims=True)
    return (top + np.log(np.exp(logs - top).sum(-1, keepdims=True)))[..., 0]
