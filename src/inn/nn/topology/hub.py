"""A star: some neurons hear all, and all others hear these."""

from __future__ import annotations

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import HubOptions


class Hub(Topology):
    """The first `hubs` neurons hear everyone; each of the others hears them, and itself: a workspace in the middle."""

    Options = HubOptions

    def edges(self, neurons: int) -> Edges:
        hubs = range(self.options.hubs)
        return Edges.listed([[*range(neurons)] if i in hubs else [*hubs, i] for i in range(neurons)])
