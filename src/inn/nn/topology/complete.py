"""Everyone hears everyone."""

from __future__ import annotations

from inn.nn.topology.base import Topology


class Complete(Topology):
    """Everyone hears everyone, itself included: the paper's graph."""

    def edges(self, neurons: int) -> None:
        return None
