"""The protocol of a topology, and the edges of a configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from inn.config.parts import Options as PartOptions
from inn.nn.topology.edges import Edges
from inn.nn.topology.fitting import fit
from inn.nn.topology.options import EdgesOptions, SignaturesOptions
from inn.nn.topology.roles import LagOptions, TopologyOptions
from inn.registry import TOPOLOGIES
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.graph import GraphConfig


class Topology(ABC):
    """Which neurons may hear which. A subclass makes the edges of N neurons, the same ones each time.

    A graph asks once when it is built, and keeps the edges in its checkpoints.

    >>> import networkx
    >>> Topology.from_graph(networkx.path_graph(3)).edges
    [[0, 1], [1, 0], [1, 2], [2, 1]]
    """

    Options: type[PartOptions] = TopologyOptions

    def __init__(self, options: Any):
        self.options = options

    @abstractmethod
    def edges(self, neurons: int) -> Edges | None:
        """The edges of a population of N neurons; None lets everyone hear everyone, itself included."""

    def wiring(self, neurons: int) -> nn.Module | None:
        """A module whose `forward()` gives the edges, dense (K = N), where they are learned; `edges` is then None."""
        return None

    @staticmethod
    def signatures(neurons: int, like: Any = None, width: int = 16, tau: float = 0.8, seed: int = 0) -> Any:
        """Learned edges that start as those of a NetworkX graph, as what `inn.Graph(topology=...)` takes.

        Signatures of `width` numbers are fitted to the graph: N / 2 is enough for any. Neurons hear themselves, and
        edges lead both ways. Without a graph signatures start at random.

        Raises `InputError` for a directed graph, one of another size, and one with signs.
        """
        if like is None:
            return SignaturesOptions(width, tau, kind="signatures")
        edges = Topology.from_graph(like).edges
        if like.is_directed() or any(len(edge) > 2 for edge in edges):
            raise InputError("signatures make edges that lead both ways, without signs; give an undirected graph")
        if len(like) != neurons:
            raise InputError(f"the graph has {len(like)} nodes, and there are {neurons} neurons")
        found = fit([(to, source) for to, source in edges if to != source], neurons, width, tau, seed)
        start = [[round(x, 6) for x in row] for row in found.tolist()]
        return SignaturesOptions(width, tau, start=start, kind="signatures")

    @staticmethod
    def from_graph(graph: Any, *, itself: bool = True) -> EdgesOptions:
        """A NetworkX graph as what `inn.Graph(topology=...)` takes; an edge u -> v lets v hear u.

        Nodes are the neurons' numbers where they are whole numbers from 0 on, else neurons in their order. An edge's
        `sign`, or else the sign of its `weight`, is its sign; its `lag` the steps that it takes. An undirected edge
        leads both ways. With `itself` every neuron hears itself, too.

        Raises `InputError` for a graph without nodes, or with several edges between two of them.
        """
        if not all(hasattr(graph, name) for name in ("nodes", "edges", "is_multigraph", "is_directed")):
            raise InputError(f"a topology is made from a graph of NetworkX, not from a {type(graph).__name__}")
        nodes = list(graph.nodes)
        if not nodes or graph.is_multigraph():
            raise InputError("a topology needs a graph with nodes, and at most one edge from one to another")
        numbered = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in nodes)
        number = {node: node if numbered else i for i, node in enumerate(nodes)}
        edges, columns = [], 2
        for u, v, data in graph.edges(data=True):
            value = data.get("sign", data.get("weight", 1))
            if not isinstance(value, Real) or value != value:
                raise InputError(f"the sign or weight of edge {u!r} -> {v!r} must be a number, not {value!r}")
            if value == 0:
                continue
            sign, lag = -1 if value < 0 else 1, data.get("lag", 0)
            columns = max(columns, 4 if lag else 3 if sign < 0 else 2)
            edges.append([number[v], number[u], sign, lag])
            if not graph.is_directed() and u != v:
                edges.append([number[u], number[v], sign, lag])
        return EdgesOptions(sorted(e[:columns] for e in edges), itself, kind="edges")


def edges_of(config: GraphConfig) -> Edges | None:
    """The edges that a graph's topology makes; None for the complete graph, which needs no list."""
    with torch.device("cpu"):  # wherever weights are made: edges are known, not learned
        edges, options = TOPOLOGIES[config.topology.kind](config.topology).edges(config.neurons), config.topology
        if edges is None or not isinstance(options, LagOptions) or not any(options.lags):
            return edges
        draw, own = torch.Generator().manual_seed(options.lag_seed), torch.arange(config.neurons)[:, None]
        lags = torch.randint(options.lags[0], options.lags[-1] + 1, edges.sources.shape, generator=draw)
        return replace(edges, lags=lags.masked_fill(edges.sources == own, 0))  # a neuron hears itself at once


def wiring_of(config: GraphConfig) -> nn.Module | None:
    """What makes the edges of a graph where they are learned, else None."""
    return TOPOLOGIES[config.topology.kind](config.topology).wiring(config.neurons) if learned(config) else None


def learned(config: GraphConfig) -> bool:
    """Whether the edges of a graph are learned."""
    return getattr(TOPOLOGIES[config.topology.kind], "wiring", None) not in (None, Topology.wiring)
