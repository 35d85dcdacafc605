"""Random edges, as many for every neuron, that an objective moves while training."""

from __future__ import annotations

import random
from itertools import pairwise

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import RewiredOptions


class Rewired(Topology):
    """Every neuron hears itself and others drawn at random, with `groups` more of its own group; `rewire` moves them.

    The first of a neuron's sources is itself, and stays.
    """

    Options = RewiredOptions

    def edges(self, neurons: int) -> Edges:
        draw, others, groups = random.Random(self.options.seed), self.options.degree(neurons) - 1, self.options.groups
        starts = [-(-g * neurons // groups) for g in range(groups + 1)]
        rows = []
        for first, end in pairwise(starts):
            size = end - first
            of_group = max(min(size - 1, round(self.options.inside * others)), others - neurons + size)
            for i in range(first, end):
                near = [first + j + (first + j >= i) for j in draw.sample(range(size - 1), of_group)]
                far = [j + size * (j >= first) for j in draw.sample(range(neurons - size), others - of_group)]
                rows.append([i, *sorted(near + far)])
        return Edges.listed(rows)
