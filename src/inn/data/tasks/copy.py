"""Copy: items that have to be written down in their order after a gap, or picked out of blanks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inn.config.checks import check_at_least
from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import Task, TaskOptions


@dataclass
class CopyOptions(TaskOptions):
    """At the end: what were the items, in their order?"""

    items: int = 8
    """Items to be copied."""
    symbols: int = 8
    """Symbols that an item may be."""
    gap: int = 16
    """Blank steps before the copy is asked for."""
    selective: bool = False
    """Whether the blanks stand between the items, at random places, and not all behind them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "items")
        check_at_least(self, 2, "symbols")
        check_at_least(self, 0, "gap")


class Copy(Task):
    """Items, blanks behind or between them, then a step `?` for each item, at which that item is to be told.

    Symbols: items `s0`, ..., the blank `_`, and `?`.
    """

    Options = CopyOptions

    @property
    def names(self) -> list[str]:
        return [*(f"s{i}" for i in range(self.options.symbols)), "_", "?"]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        o = self.options
        items = rng.integers(0, o.symbols, (count, o.items))
        inputs = np.full((count, o.items + o.gap + o.items), o.symbols)
        places = np.broadcast_to(np.arange(o.items), items.shape)
        if o.selective:
            places = some_places(rng, count, o.items + o.gap, o.items)
        np.put_along_axis(inputs, places, items, 1)
        inputs[:, -o.items :] = o.symbols + 1
        targets = np.full_like(inputs, IGNORED)
        targets[:, -o.items :] = items
        return Examples.equal(inputs, targets)


def some_places(rng: np.random.Generator, count: int, places: int, chosen: int) -> np.ndarray:
    """So many of the places for each sequence, drawn at random, in order: `[count, chosen]`."""
    return np.sort(rng.random((count, places)).argsort(1)[:, :chosen], 1)
