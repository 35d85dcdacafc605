"""Edges that a person listed, in a configuration, a file or a graph of NetworkX."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest

import torch

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import EdgesOptions


class Listed(Topology):
    """The edges of the options, signs included."""

    Options = EdgesOptions

    def edges(self, neurons: int) -> Edges:
        o = self.options
        rows: list[dict[int, list[int]]] = [{i: [1, 0, 0]} if o.itself else {} for i in range(neurons)]
        limits = o.limits() if o.classes else {}
        number = {name: c for c, name in enumerate(limits)}
        for (to, source, *more), name in zip_longest(o.edges, o.classes):
            sign, lag = (more + [1, 0][len(more) :])[:2]
            rows[to][source] = [1 if limits else sign, lag, number.get(name, 0)]  # a class has its sign in its weight
        signs, lags, classes = ([[own[i] for own in row.values()] for row in rows] for i in range(3))
        edges = Edges.listed([list(row) for row in rows], signs, lags)
        if not limits:
            return edges
        widest = edges.sources.shape[1]
        listed = torch.tensor([[*row, *[0] * (widest - len(row))] for row in classes])
        return replace(edges, classes=listed, limits=torch.tensor([*limits.values()]))
