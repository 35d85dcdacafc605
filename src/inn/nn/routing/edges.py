"""Which edges a router may use: topology and lesions, apart from the router's weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Edges:
    """Directed edges of a population, listed by the neuron they lead to.

    Attributes:
        sources: `[N_to, K]` int64, the neurons that each neuron may listen to (dense as K = N).
        open: `[N_to, K]` bool, which of them it does listen to; a closed edge is a lesion.
    """

    sources: Tensor
    open: Tensor

    @classmethod
    def complete(cls, neurons: int) -> Edges:
        """Everyone listens to everyone, itself included: the paper's graph.

        >>> Edges.complete(3).dense().sum().item()
        9
        """
        sources = torch.arange(neurons).expand(neurons, neurons)
        return cls(sources, torch.ones(neurons, neurons, dtype=torch.bool))

    def close(self, pairs: Iterable[tuple[int, int]]) -> Edges:
        """Close the edges (to, from); the rest stays as it is.

        >>> Edges.complete(2).close([(0, 1)]).dense().tolist()
        [[True, False], [True, True]]
        """
        still_open = self.open.clone()
        for to, source in pairs:
            still_open[to] &= self.sources[to] != source
        return Edges(self.sources, still_open)

    def dense(self) -> Tensor:
        """`[N_to, N_from]` bool, true where an edge is open."""
        neurons = self.sources.shape[0]
        dense = torch.zeros(neurons, neurons, dtype=torch.int32, device=self.open.device)
        return dense.scatter_add(1, self.sources, self.open.int()) > 0

    def to(self, device: torch.device | str) -> Edges:
        """The same edges on another device."""
        return Edges(self.sources.to(device), self.open.to(device))
