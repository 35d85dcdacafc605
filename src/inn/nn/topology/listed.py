"""Edges that a person listed, in a configuration, a file or a graph of NetworkX."""

from __future__ import annotations

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import EdgesOptions


class Listed(Topology):
    """The edges of the options, signs included."""

    Options = EdgesOptions

    def edges(self, neurons: int) -> Edges:
        rows: list[dict[int, int]] = [{i: 1} if self.options.itself else {} for i in range(neurons)]
        for to, source, *sign in self.options.edges:
            rows[to][source] = sign[0] if sign else 1
        return Edges.listed([list(row) for row in rows], [list(row.values()) for row in rows])
