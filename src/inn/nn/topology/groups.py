"""Groups of neurons, and a few edges between them."""

from __future__ import annotations

import random

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import GroupsOptions


class Groups(Topology):
    """Every neuron hears all of its group, itself included, and `between` neurons of other groups."""

    Options = GroupsOptions

    def edges(self, neurons: int) -> Edges:
        draw = random.Random(self.options.seed)
        group = [i * self.options.groups // neurons for i in range(neurons)]
        rows = []
        for i in range(neurons):
            inside = [j for j in range(neurons) if group[j] == group[i]]
            outside = [j for j in range(neurons) if group[j] != group[i]]
            rows.append(inside + sorted(draw.sample(outside, self.options.between)))
        return Edges.listed(rows)
