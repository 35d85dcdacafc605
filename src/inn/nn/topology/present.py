"""What the topology of a graph is at this moment: its open edges, in pairs and in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from inn.nn.topology.edges import Edges


@dataclass(frozen=True)
class Present:
    """The edges that are open in a graph now, lesions aside; a topology that is learned or rewired has others later.

    >>> Present(Edges.listed([[0, 1], [1]])).edges()
    [(0, 0), (0, 1), (1, 1)]
    """

    of: Edges

    @property
    def neurons(self) -> int:
        return len(self.of.sources)

    @property
    def number(self) -> int:
        """How many edges there are, those from a neuron to itself included."""
        return int(self.of.open.sum())

    @property
    def density(self) -> float:
        """Their share of the edges of the complete graph, in [0, 1]."""
        return self.number / self.neurons**2

    def edges(self) -> list[tuple[int, int]]:
        """Pairs (to, from), in order; of a graph of 1,000 neurons up to a million."""
        to, slot = self.of.open.nonzero(as_tuple=True)
        return sorted(zip(to.tolist(), self.of.sources[to, slot].tolist()))

    @property
    def heard(self) -> Tensor:
        """How many each neuron hears, itself included, `[N]`."""
        return self.of.open.sum(1)

    @property
    def hearers(self) -> Tensor:
        """How many hear each neuron, itself included, `[N]`."""
        return self.of.sources[self.of.open].bincount(minlength=self.neurons)
