"""Edges that a person listed, in a configuration, a file or a graph of NetworkX."""

from __future__ import annotations

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import EdgesOptions


class Listed(Topology):
    """The edges of the options, signs included."""

    Options = EdgesOptions

    def edges(self, neurons: int) -> Edges:
        rows: list[dict[int, list[int]]] = [{i: [1, 0]} if self.options.itself else {} for i in range(neurons)]
        for to, source, *more in self.options.edges:
            rows[to][source] = (more + [1, 0][len(more) :])[:2]
        signs, lags = ([[own[i] for own in row.values()] for row in rows] for i in range(2))
        return Edges.listed([list(row) for row in rows], signs, lags)
