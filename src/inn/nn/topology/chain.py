"""A chain: each neuron hears the one before it, and who is absent is passed by."""

from __future__ import annotations

from dataclasses import replace

from inn.nn.topology.base import Topology
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import ChainOptions


class Chain(Topology):
    """Every neuron hears its own link, itself included, and the link before; a link is `size` neurons.

    A neuron that is absent passes on what stands in its place of the last link before it, stream by stream and step by
    step: with dendrites it is as if the chain had been made without it (after MultiModN, arXiv 2309.14118); a router
    that makes values of what is said makes them by the maps of the one that passes on. What is said gets one link
    further in a round, so that the last of K links hears the first after K - 1. The order is in the edges alone, and
    rounds know of none: so any router and any memory make a chain. A first link that is no sensor takes nothing in; it
    is the start that the others go on from.
    """

    Options = ChainOptions

    def edges(self, neurons: int) -> Edges:
        size = self.options.size
        first = [i // size * size for i in range(neurons)]
        return replace(Edges.listed([[*range(max(0, at - size), at + size)] for at in first]), relay=size)
