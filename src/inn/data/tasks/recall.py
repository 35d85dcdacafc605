"""Recall: pairs of keys and values among noise, then keys: an association that has to be looked up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import Task, TaskOptions
from inn.data.tasks.copy import some_places
from inn.data.tasks.noise import fillers
from inn.system.errors import InputError


@dataclass
class RecallOptions(TaskOptions):
    """After pairs of keys and values among noise, keys again: what were their values?"""

    pairs: int = 6
    """Pairs of a sequence, of different keys."""
    length: int = 48
    """Steps of a sequence: two for each pair, one for each key that is asked, the rest is noise between the pairs."""
    asked: int | None = None
    """Keys that are asked at the end, at most as many as there are pairs; null: all, in another order."""
    keys: int = 16
    """Keys that there are."""
    values: int = 16
    """Values that there are."""
    fillers: int = 8
    """Symbols that the noise is made of."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "pairs", "asked", "fillers")
        check_at_least(self, 2, "values")
        asked = self.pairs if self.asked is None else self.asked
        if self.pairs > self.keys:
            raise InputError(f"pairs {self.pairs} need as many different keys, and there are {self.keys}; raise keys")
        if asked > self.pairs:
            raise InputError(f"asked {asked} is more than the {self.pairs} pairs there are; lower it")
        if 2 * self.pairs + asked > self.length:
            raise InputError(
                f"{self.pairs} pairs and {asked} keys asked do not fit into length {self.length}; "
                f"take {2 * self.pairs + asked} steps or more"
            )


class Recall(Task):
    """Pairs of keys and values, then keys. Symbols: values `v0`, ..., keys `k0`, ..., noise `n0`, ..."""

    Options = RecallOptions

    @property
    def names(self) -> list[str]:
        o = self.options
        return [*(f"v{i}" for i in range(o.values)), *(f"k{i}" for i in range(o.keys)), *fillers(o.fillers)]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        o = self.options
        asked = o.pairs if o.asked is None else o.asked
        keys = o.values + rng.random((count, o.keys)).argsort(1)[:, : o.pairs]
        values = rng.integers(0, o.values, (count, o.pairs))
        inputs = rng.integers(0, o.fillers, (count, o.length)) + o.values + o.keys
        # a pair is one thing among the noise, so the k-th pair begins k steps later than its place
        places = some_places(rng, count, o.length - asked - o.pairs, o.pairs) + np.arange(o.pairs)
        np.put_along_axis(inputs, places, keys, 1)
        np.put_along_axis(inputs, places + 1, values, 1)
        order = rng.random((count, o.pairs)).argsort(1)[:, :asked]
        inputs[:, -asked:] = np.take_along_axis(keys, order, 1)
        targets = np.full_like(inputs, IGNORED)
        targets[:, -asked:] = np.take_along_axis(values, order, 1)
        return Examples.equal(inputs, targets)
