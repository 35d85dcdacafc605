"""Everyone hears everyone."""

from __future__ import annotations

from inn.nn.topology.base import Topology
from inn.nn.topology.roles import TopologyOptions


class Complete(Topology):
    """Everyone hears everyone, itself included: the paper's graph."""

    Options = TopologyOptions

    def edges(self, neurons: int) -> None:
        return None
