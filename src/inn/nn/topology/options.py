"""The options of the topologies that come with the library; free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from inn.config.checks import check_at_least, check_idle, needs
from inn.nn.topology.files import read_edges
from inn.nn.topology.roles import LagOptions, ReadOptions, TopologyOptions
from inn.system.errors import InputError


@dataclass
class RingOptions(LagOptions):
    """Each neuron receives from itself and its nearest neighbours on a ring."""

    neighbours: int = 2
    """Neighbours that each neuron receives from, half on either side: an even number below N."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "neighbours")
        if self.neighbours % 2:
            raise InputError(f"neighbours must be even, half on either side, not {self.neighbours}")

    def check(self, graph: Any) -> None:
        super().check(graph)
        if self.neighbours >= graph.neurons:
            raise InputError(
                f"topology '{self.kind}' with neighbours {self.neighbours} needs more than {self.neighbours} neurons, "
                f"not {graph.neurons}; set neighbours lower"
            )


@dataclass
class SmallWorldOptions(RingOptions):
    """A ring with some edges rewired at random (Watts & Strogatz 1998): short paths between all neurons."""

    rewired: float = 0.1
    """Share of the edges between neurons that get a random source, in [0, 1]."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "seed")
        if not 0 <= self.rewired <= 1:
            raise InputError(f"rewired must be in [0, 1], not {self.rewired}")


@dataclass
class RewiredOptions(TopologyOptions):
    """Edges at random, as many for every neuron, that the objective `rewire` moves while training."""

    density: float = 0.25
    """Share of the edges of the complete graph, each neuron's to itself included; in (0, 1)."""
    groups: int = 1
    """Groups, as equal in size as N allows, that the first edges favour; a group is a range of neurons."""
    inside: float = needs(0.5, "groups", (1).__lt__, "8")
    """Share of the others that a neuron hears at first that are of its own group, where it has so many."""
    seed: int = 0
    """Seed of the first edges."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_idle(self)
        check_at_least(self, 0, "seed")
        check_at_least(self, 1, "groups")
        if not 0 < self.density < 1:
            raise InputError(f"density must be in (0, 1), not {self.density}")
        if not 0 <= self.inside <= 1:
            raise InputError(f"inside must be in [0, 1], not {self.inside}")

    def degree(self, neurons: int) -> int:
        """How many each of so many neurons hears, itself included."""
        return round(self.density * neurons)

    def check(self, graph: Any) -> None:
        super().check(graph)
        if not 2 <= self.degree(graph.neurons) < graph.neurons:
            raise InputError(
                f"density {self.density} of {graph.neurons} neurons is {self.degree(graph.neurons)} sources for each, "
                f"and it must be 2 to {graph.neurons - 1}, itself among them; set another density"
            )
        if self.groups > graph.neurons:
            raise InputError(f"groups {self.groups} needs as many neurons, not {graph.neurons}; set groups lower")


@dataclass
class SignaturesOptions(TopologyOptions):
    """Edges between neurons whose learned signatures are near one another (after arXiv 2210.08031)."""

    width: int = 16
    """Numbers of a signature; N / 2 can be any graph whose edges lead both ways."""
    tau: float = 0.8
    """An edge is open where 1 - cos of two signatures is below; in (0, 2)."""
    epsilon: float = 1.0
    """What distances are divided by in log-weights at the start; it is learned."""
    draws: bool = False
    """In training draw which edges are open, the nearer the likelier, once per pass."""
    frozen: bool = False
    """Leave the signatures as they start: a control."""
    start: list[list[float]] = field(default_factory=list)
    """The signatures at the start, neuron by neuron (`inn.Topology.signatures` fits them to a graph); []: random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "width")
        if not 0 < self.tau < 2:
            raise InputError(f"tau must be in (0, 2), not {self.tau}")
        if not 1e-3 <= self.epsilon <= 1e3:
            raise InputError(f"epsilon must be in [0.001, 1000], not {self.epsilon}")
        if any(len(row) != self.width for row in self.start):
            raise InputError(f"start must have {self.width} numbers for every neuron, as width says")

    def check(self, graph: Any) -> None:
        super().check(graph)
        if self.start and len(self.start) != graph.neurons:
            raise InputError(f"start has signatures of {len(self.start)} neurons, and there are {graph.neurons}")


@dataclass
class GroupsOptions(LagOptions):
    """Groups of neurons: each receives from all neurons of its group, and from a few others."""

    groups: int = 2
    """Number of groups, as equal in size as N allows; a group is a range of neurons."""
    between: int | None = None
    """Neurons of other groups that each neuron receives from, drawn at random; 1 where `across` is not given."""
    across: float | None = None
    """The same as a share of the neurons of other groups, in [0, 1]."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "groups")
        check_at_least(self, 0, "seed")
        if self.between is not None and self.across is not None:
            raise InputError(
                f"between {self.between} and across {self.across} both say how many neurons of other groups each "
                "hears; give one of them"
            )
        if self.between is not None:
            check_at_least(self, 0, "between")
        if self.across is not None and not 0 <= self.across <= 1:
            raise InputError(f"across must be in [0, 1], not {self.across}")

    def across_of(self, neurons: int) -> int:
        """Neurons of other groups that each of so many hears."""
        if self.across is None:
            return 1 if self.between is None else self.between
        return round(self.across * (neurons - -(-neurons // self.groups)))

    def check(self, graph: Any) -> None:
        super().check(graph)
        others, heard = graph.neurons - -(-graph.neurons // self.groups), self.across_of(graph.neurons)
        if self.groups > graph.neurons:
            raise InputError(f"groups {self.groups} needs as many neurons, not {graph.neurons}; set groups lower")
        if self.across and not heard:
            raise InputError(
                f"across {self.across} of the {others} neurons outside a group is none; raise it, or give between"
            )
        if heard > others:
            raise InputError(f"between {heard} is more than the {others} neurons outside a group; lower it")


@dataclass
class HubOptions(LagOptions):
    """A star: the first neurons hear all, all others hear these and themselves."""

    hubs: int = 1
    """Neurons in the middle, the first ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "hubs")

    def check(self, graph: Any) -> None:
        super().check(graph)
        if self.hubs >= graph.neurons:
            raise InputError(
                f"topology 'hub' with hubs {self.hubs} needs more neurons, not {graph.neurons}; lower hubs"
            )


@dataclass
class ChainOptions(TopologyOptions):
    """A chain: each link hears the link before it and itself; neurons that are absent pass on what is before them."""

    size: int = 1
    """Neurons of a link: a range of neurons, which all hear one another."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "size")

    def check(self, graph: Any) -> None:
        super().check(graph)
        links = graph.neurons // self.size
        if graph.neurons % self.size or links < 2:
            raise InputError(
                f"topology 'chain' needs two links or more of {self.size} neurons (size), and {graph.neurons} neurons "
                "are not; set neurons to a multiple of size"
            )
        if graph.rounds < links - 1 and not graph.lag:
            raise InputError(
                f"a chain of {links} links needs {links - 1} rounds, not {graph.rounds}, for what is said gets one "
                f"link further in each; set rounds to {links - 1}"
            )


@dataclass
class EachOptions(ReadOptions):
    """One readout after every link of a chain; a model tells something at each, and training takes the mean."""

    change: float = 0.0
    """Weight (nats) of the squared change from one readout to the next in the training loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "change")

    def check(self, graph: Any) -> None:
        super().check(graph)
        chain = graph.topology
        if not isinstance(chain, ChainOptions):
            raise InputError(
                f"readout 'each' reads after every link of a chain, and topology '{chain.kind}' has none; set topology "
                "chain, or another readout"
            )
        read, size = list(graph.read), chain.size
        links = [read[i : i + size] for i in range(0, len(read), size)]
        if len(links) < 2 or any(n != [*range(n[0], n[0] + size)] or n[0] % size for n in links):
            raise InputError(
                f"readout 'each' reads links as a whole, at least two of them, of {size} neurons each, unlike {read}; "
                "name all neurons of a link in read, or leave read out"
            )


@dataclass
class EdgesOptions(LagOptions):
    """A list of edges."""

    edges: list[list[int]] = field(default_factory=list)
    """[to, from], [to, from, sign] with 1 or -1 (of a class also 0), or [to, from, sign, lag], of neurons from 0 on."""
    itself: bool = True
    """Each neuron also receives from itself, listed or not."""
    classes: list[str] = field(default_factory=list)
    """A class for every edge, by name: those of one share a weight, of the sign that they have (0: any); []: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        signs = (1, 0, -1) if self.classes else (1, -1)
        seen = set()
        for edge in self.edges:
            if len(edge) not in (2, 3, 4) or any(isinstance(n, bool) or not isinstance(n, int) for n in edge):
                raise InputError(f"an edge is [to, from], [to, from, sign] or [to, from, sign, lag], not {edge}")
            if min(edge[:2]) < 0 or (len(edge) > 2 and edge[2] not in signs):
                either = "1, -1 or 0 (any)" if self.classes else "1 or -1"
                raise InputError(f"edge {edge} must join neurons numbered from 0, and a sign is {either}")
            if len(edge) == 4 and edge[3] < 0:
                raise InputError(f"edge {edge} must have a lag of 0 or more steps")
            if tuple(edge[:2]) in seen:
                raise InputError(f"edge {edge[:2]} is listed twice; leave one out")
            seen.add(tuple(edge[:2]))
        self._check_classes()

    def _check_classes(self) -> None:
        if not self.classes:
            return
        if len(self.classes) != len(self.edges) or not all(name.strip() for name in self.classes):
            without = next(
                (e for e, n in zip_longest(self.edges, self.classes, fillvalue="") if not str(n).strip()), ""
            )
            raise InputError(
                f"there are {len(self.edges)} edges, and edge {without or 'none'} has no class; name one for every "
                "edge, or for none"
            )
        if self.itself:
            raise InputError(
                "an edge from a neuron to itself is of no class; list those that are to be, and set itself false"
            )
        self.limits()

    def limits(self) -> dict[str, int]:
        """The classes as they come, each with the sign of its weight; `InputError` for one with edges of two signs."""
        found: dict[str, int] = {}
        for edge, name in zip(self.edges, self.classes, strict=True):
            sign = edge[2] if len(edge) > 2 else 0
            if found.setdefault(name, sign) != sign:
                raise InputError(
                    f"class '{name}' has edges of sign {found[name]} and of sign {sign}, and they share one weight; "
                    "name two classes"
                )
        return found

    def longest(self) -> int:
        return max(super().longest(), *(edge[3] for edge in self.edges if len(edge) == 4), 0)

    def check(self, graph: Any) -> None:
        super().check(graph)
        if self.lags and any(len(edge) == 4 for edge in self.edges):
            raise InputError(f"lags {self.lags} and the edges themselves both say how long edges take; leave lags out")
        if not self.edges and not self.itself:
            raise InputError("topology 'edges' without edges lets nobody hear anything; list some")
        largest = max((max(edge[:2]) for edge in self.edges), default=0)
        if largest >= graph.neurons:
            raise InputError(f"the edges name neuron {largest}, and there are {graph.neurons}, numbered from 0")


@dataclass
class FileOptions(EdgesOptions):
    """Edges from a file, which is read once: the configuration stores them."""

    path: str | None = None
    """A CSV of `to,from[,sign][,lag][,class]` or an adjacency matrix, or an npz with `edges` or `adjacency`."""

    def __post_init__(self) -> None:
        if not self.edges:
            if self.path is None:
                raise InputError("topology 'file' needs path: a CSV or an npz with edges or an adjacency matrix")
            self.edges, self.classes = read_edges(self.path)
        super().__post_init__()
