"""Random edges, as many for every neuron, that an objective moves while training."""

from __future__ import annotations

import random

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import RewiredOptions


class Rewired(Topology):
    """Every neuron hears itself and others drawn at random; the objective `rewire` moves these edges.

    The first of a neuron's sources is itself, and stays.
    """

    Options = RewiredOptions

    def edges(self, neurons: int) -> Edges:
        draw, degree = random.Random(self.options.seed), self.options.degree(neurons)
        others = range(neurons - 1)
        return Edges.listed(
            [[i, *sorted(j + (j >= i) for j in draw.sample(others, degree - 1))] for i in range(neurons)]
        )
