"""Rings: neighbours hear one another, in a small world some that are far away, too."""

from __future__ import annotations

import random

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import RingOptions, SmallWorldOptions


class Ring(Topology):
    """Every neuron hears itself and `neighbours` others, half of them on either side."""

    Options = RingOptions

    def edges(self, neurons: int) -> Edges:
        half = self.options.neighbours // 2
        return Edges.listed([[i, *_around(i, half, neurons)] for i in range(neurons)])


class SmallWorld(Topology):
    """A ring where the source of an edge between two neurons is drawn anew with chance `rewired`.

    Watts & Strogatz (1998), directed: every neuron hears as many as before, nobody twice.
    """

    Options = SmallWorldOptions

    def edges(self, neurons: int) -> Edges:
        draw = random.Random(self.options.seed)
        half, rows = self.options.neighbours // 2, []
        for i in range(neurons):
            row = [i, *_around(i, half, neurons)]
            for k in range(1, len(row)):
                others = neurons - len(row)
                if others and draw.random() < self.options.rewired:
                    row[k] = _outside(draw.choice(range(others)), row)
            rows.append(row)
        return Edges.listed(rows)


def _outside(place: int, row: list[int]) -> int:
    """The neuron at a place among those that are not in `row`, in order."""
    for j in sorted(row):
        place += j <= place
    return place


def _around(i: int, half: int, neurons: int) -> list[int]:
    return [(i + step) % neurons for step in range(-half, half + 1) if step]
