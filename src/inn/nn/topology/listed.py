"""Edges that a person listed, in a configuration, a file or a graph of NetworkX."""

from __future__ import annotations

from dataclasses import replace

import torch

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import EdgesOptions


class Listed(Topology):
    """The edges of the options, signs included."""

    Options = EdgesOptions

    def edges(self, neurons: int) -> Edges:
        if self.options.classes:
            return self._classed(neurons)
        rows: list[dict[int, int]] = [{i: 1} if self.options.itself else {} for i in range(neurons)]
        for to, source, *sign in self.options.edges:
            rows[to][source] = sign[0] if sign else 1
        return Edges.listed([list(row) for row in rows], [list(row.values()) for row in rows])

    def _classed(self, neurons: int) -> Edges:
        """The edges with their classes, numbered as they come; a sign is that of the class's weight, and no factor."""
        limits = self.options.limits()
        number = {name: c for c, name in enumerate(limits)}
        rows: list[dict[int, int]] = [{} for _ in range(neurons)]
        for (to, source, *_), name in zip(self.options.edges, self.options.classes, strict=True):
            rows[to][source] = number[name]
        edges = Edges.listed([list(row) for row in rows])
        classes = [[*row.values(), *[0] * (edges.sources.shape[1] - len(row))] for row in rows]
        return replace(edges, classes=torch.tensor(classes), limits=torch.tensor([*limits.values()]))
