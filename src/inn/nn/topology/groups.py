"""Groups of neurons, and a few edges between them."""

from __future__ import annotations

import random
from itertools import pairwise

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import GroupsOptions


class Groups(Topology):
    """Every neuron hears all of its group, itself included, and some neurons of other groups, drawn at random."""

    Options = GroupsOptions

    def edges(self, neurons: int) -> Edges:
        draw, groups = random.Random(self.options.seed), self.options.groups
        starts = [-(-g * neurons // groups) for g in range(groups + 1)]
        across, rows = self.options.across_of(neurons), []
        for first, end in pairwise(starts):
            inside, others = list(range(first, end)), range(neurons - end + first)
            for _ in inside:
                drawn = sorted(draw.sample(others, across))
                rows.append(inside + [j if j < first else j + end - first for j in drawn])
        return Edges.listed(rows)
