"""The options of the topologies that come with the library; free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.nn.topology.files import read_edges
from inn.system.errors import InputError


@dataclass
class RingOptions(Options):
    """Every neuron hears itself and those nearest to it on a ring."""

    neighbours: int = 2
    """Neurons that each one hears beside itself, half of them on either side: an even number below N."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "neighbours")
        if self.neighbours % 2:
            raise InputError(f"neighbours must be even, half on either side, not {self.neighbours}")

    def check(self, graph: Any) -> None:
        if self.neighbours >= graph.neurons:
            raise InputError(
                f"topology '{self.kind}' with neighbours {self.neighbours} needs more than {self.neighbours} neurons, "
                f"not {graph.neurons}; set neighbours lower"
            )


@dataclass
class SmallWorldOptions(RingOptions):
    """A ring some of whose edges come from anywhere (Watts & Strogatz 1998): near and yet few steps from all."""

    rewired: float = 0.1
    """Share of the edges between neurons whose source is drawn anew, in [0, 1]."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "seed")
        if not 0 <= self.rewired <= 1:
            raise InputError(f"rewired must be in [0, 1], not {self.rewired}")


@dataclass
class GroupsOptions(Options):
    """Groups of neurons that hear everyone of their own group, and a few of the others."""

    groups: int = 2
    """Groups, as equal in size as N allows; neurons of a group stand side by side."""
    between: int = 1
    """Neurons of other groups that each neuron hears, drawn at random."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "groups")
        check_at_least(self, 0, "between", "seed")

    def check(self, graph: Any) -> None:
        largest = -(-graph.neurons // self.groups)
        if self.groups > graph.neurons:
            raise InputError(f"groups {self.groups} needs as many neurons, not {graph.neurons}; set groups lower")
        if self.between > graph.neurons - largest:
            raise InputError(
                f"between {self.between} is more than the {graph.neurons - largest} neurons outside a group; lower it"
            )


@dataclass
class EdgesOptions(Options):
    """Edges one by one."""

    edges: list[list[int]] = field(default_factory=list)
    """[to, from] for every edge, or [to, from, sign] with 1 or -1; neurons are numbered from 0."""
    itself: bool = True
    """Every neuron hears itself too, whether or not that is listed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        seen = set()
        for edge in self.edges:
            if len(edge) not in (2, 3) or any(isinstance(n, bool) or not isinstance(n, int) for n in edge):
                raise InputError(f"an edge is [to, from] or [to, from, sign] in whole numbers, not {edge}")
            if min(edge[:2]) < 0 or (len(edge) == 3 and edge[2] not in (1, -1)):
                raise InputError(f"edge {edge} must join neurons numbered from 0, and a sign is 1 or -1")
            if tuple(edge[:2]) in seen:
                raise InputError(f"edge {edge[:2]} is listed twice; leave one out")
            seen.add(tuple(edge[:2]))

    def check(self, graph: Any) -> None:
        if not self.edges and not self.itself:
            raise InputError("topology 'edges' without edges lets nobody hear anything; list some")
        largest = max((max(edge[:2]) for edge in self.edges), default=0)
        if largest >= graph.neurons:
            raise InputError(f"the edges name neuron {largest}, and there are {graph.neurons}, numbered from 0")


@dataclass
class FileOptions(EdgesOptions):
    """Edges from a file, which is read once: the configuration keeps them, and the file is not needed again."""

    path: str | None = None
    """A CSV of `to,from[,sign]` or of an adjacency matrix, or an npz with `edges` or `adjacency` (row: who hears)."""

    def __post_init__(self) -> None:
        if not self.edges:
            if self.path is None:
                raise InputError("topology 'file' needs path: a CSV or an npz with edges or an adjacency matrix")
            self.edges = read_edges(self.path)
        super().__post_init__()
