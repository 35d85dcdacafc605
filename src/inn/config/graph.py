"""The options of a graph of neurons; each memory, router, topology, inner map and readout brings its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from inn.config.checks import check_at_least, check_fraction, check_idle, check_types, needs
from inn.config.parts import part, parts_of, settle_parts, settled
from inn.registry import GATES, INNERS, MEMORIES, READOUTS, ROUTERS, TOPOLOGIES
from inn.system.errors import InputError

NEURONS = 1 << 20
"""Neurons of a graph, at most: their names alone take minutes beyond."""


def _some(value: Any) -> bool:
    return value != "none"


def _routed(router: str) -> bool:
    return not ROUTERS.empty(router)


def _alone(gate: str) -> bool:
    return getattr(GATES.options(gate), "alone", False)


def neurons_of(population: Any) -> int:
    """The neurons of a population's groups; raises `InputError` for what is no list of groups."""
    for group in population if isinstance(population, list | tuple) else [population]:
        if not isinstance(group, Mapping) or type(n := group.get("neurons")) is not int or not 0 < n < 2**31:
            raise InputError(f"a group of the population must say its neurons, like {{neurons: 2}}, not {group!r}")
    return sum(group["neurons"] for group in population)


@dataclass
class GraphConfig:
    """A graph of neurons: population, memory, router, readout. Default: N separate neurons, with dendrites."""

    neurons: int = 8
    """Neurons in the population (N)."""
    width: int = 64
    """Width of one neuron (D)."""
    rounds: int = 4
    """Rounds of communication and memory (R); the paper's layers."""
    share_rounds: bool = False
    """One set of weights for all rounds; every round and neuron still has its own state."""
    input: Literal["copy", "split"] = "split"
    """`copy`: each neuron receives the whole input (width D); `split`: its own N-th of an input of width N x D."""
    weights: Literal["shared", "separate", "communal"] = "separate"
    """One set for all neurons; one per neuron; `communal`: one per neuron, low rank, with shared input states."""
    communal_states: int = needs(32, "weights", "communal".__eq__, "communal")
    """Numbers per neuronal state (k) of communal weights."""
    identity: Literal["none", "embedding", "silent"] = "none"
    """`embedding`: a learned vector per neuron, added to its input; `silent`: the same, times a gain from 0 on."""
    identity_std: float = needs(0.02, "identity", _some, "embedding")
    """Standard deviation of the identity embedding at the start."""
    memory: Any = part(MEMORIES, "mamba")
    """The recurrent part of a neuron, which carries state over time."""
    population: list[dict[str, Any]] = field(default_factory=list)
    """Groups of neurons with memories of their own: [{neurons: 6}, {neurons: 2, memory: mamba}]; [] for one memory."""
    topology: Any = part(TOPOLOGIES, "complete", on="router", when=_routed, remedy="dendrites")
    """Which neurons receive messages from which."""
    router: Any = part(ROUTERS, "dendrites")
    """How neurons exchange messages at one time step; `dendrites` feed the memory, the others come after it."""
    norm: Literal["layer", "rms", "none"] = "layer"
    """Layer norm, or RMS norm (no mean subtraction, no bias), as in published Mambas; or none."""
    update: Literal["sequential", "parallel", "message-norm"] = needs("sequential", "router", _routed, "attention")
    """Published code (pre-norm, memory then messages), Equation 1 (both at once), Algorithm 1 (norm on the message)."""
    residual: Literal["add", "learned", "input"] = needs("add", "update", "parallel".__ne__, "sequential")
    """What a neuron recalls or hears, put to what it was: x + y; x + σ(a) y; (1 - z) x + z y, z = σ(W [x, y] + b)."""
    gate: Any = part(GATES, "none", on="router", when=_routed, remedy="dendrites", unless=_alone)
    """What a neuron decides at each step: how loud it sends (`soft`, `hard`), or whether it works at all (`active`)."""
    gate_penalty: float = needs(0.0, "gate", _some, "soft")
    """Weight (nats) of the mean gate in the training loss: the cost of sending messages, or of working at all."""
    inner: Any = part(INNERS, "none")
    """What a neuron makes of its own numbers at the end of every round, beside memory and messages."""
    readout: Any = part(READOUTS, "concat")
    """How the neurons are combined into one vector."""
    spikes: float = 0.0
    """The maps of the rounds read counts of spikes, so many for a number of mean size; 0: the numbers themselves."""
    dropout: float = 0.0
    """Dropout on the input, on the outputs of memory and router, and before the head."""

    def __post_init__(self) -> None:
        check_types(self)
        settle_parts(self)
        self._settle_population()
        check_at_least(self, 1, "neurons", "width", "rounds")
        if self.neurons > NEURONS:
            raise InputError(f"neurons must be at most {NEURONS:,}, not {self.neurons:,}")
        check_fraction(self, "dropout")
        check_at_least(self, 0, "gate_penalty", "identity_std", "spikes")
        check_idle(self)
        inputs = self.router.inputs(self)
        if self.weights == "communal" and not 1 <= self.communal_states < inputs:
            raise InputError(
                f"communal_states must be from 1 to {inputs - 1}, fewer than the {inputs} numbers that a neuron reads, "
                f"not {self.communal_states}"
            )
        for name in parts_of(type(self)):
            getattr(self, name).check(self)
        for group in self.population:
            group["memory"].check(self)

    def _settle_population(self) -> None:
        if not self.population:
            return
        neurons, groups = neurons_of(self.population), []
        for group in self.population:
            if unknown := set(group) - {"neurons", "memory", "memory_options"}:
                raise InputError(f"a group of the population has neurons and memory, not '{min(unknown)}'")
            memory = group.get("memory", self.memory)
            if options := group.get("memory_options"):
                if not isinstance(options, Mapping):
                    raise InputError(f"memory_options of a group must hold options, not {options!r}")
                kind = memory if isinstance(memory, str) else settled("memory", MEMORIES, memory).kind
                memory = {"kind": kind, **options}
            groups.append({"neurons": group["neurons"], "memory": settled("memory", MEMORIES, memory)})
        self.population, self.neurons = groups, neurons

    @property
    def groups(self) -> list[GraphConfig]:
        """The configuration of each group's memory, N being that of the group; this one itself where there are none."""
        if not self.population:
            return [self]
        plain = {"topology": "complete", "gate": "none", "inner": "none", "readout": "concat", "population": []}
        plain["gate_penalty"] = 0.0
        return [replace(self, **plain, **group) for group in self.population]

    @property
    def populations(self) -> int:
        """Sets of weights in the population: 1 when shared, else N."""
        return 1 if self.weights == "shared" else self.neurons

    @property
    def memory_inputs(self) -> int:
        """Numbers per neuron that a router into the memory hands over; of a mixed population, to the widest memory."""
        return max(MEMORIES[c.memory.kind].inputs(c) for c in self.groups)

    @property
    def into_memory(self) -> bool:
        """Whether the router's messages are what memories take in."""
        router = ROUTERS[self.router.kind]
        return router is not None and router.into_memory

    @property
    def lag(self) -> int:
        """By how many steps neurons hear one another later: 0 or 1."""
        return getattr(self.router, "lag", 0)

    @property
    def sensors(self) -> Sequence[int]:
        """The neurons that take the input in."""
        return getattr(self.topology, "sensors", None) or range(self.neurons)

    @property
    def read(self) -> Sequence[int]:
        """The neurons that are read out."""
        return getattr(self.readout, "read", None) or range(self.neurons)

    @property
    def readouts(self) -> list[GraphConfig]:
        """The configuration of each part that is read by itself (readout `parts`); this one itself elsewhere."""
        own = self.readout
        return [replace(self, readout=one) for one in own.of(self.read)] if hasattr(own, "parts") else [self]

    @property
    def input_width(self) -> int:
        """Width of what the graph takes in: D copied, S x D split among S sensors, which are all N unless some are."""
        return self.width * (len(self.sensors) if self.input == "split" else 1)

    @property
    def views(self) -> int:
        """How many views a readout gives, side by side: 1, or one after every link of a chain."""
        return READOUTS[self.readout.kind].views(self)

    @property
    def view_width(self) -> int:
        """Width of one of them, which a model tells something by."""
        return self.readout_width // self.views

    @property
    def readout_width(self) -> int:
        """Width of what the graph gives out: D from each neuron that is read, concatenated, else D."""
        return READOUTS[self.readout.kind].width(self)

    @property
    def normed_width(self) -> int:
        """Width behind a model's last norm: `readout_width`, and 1 for the places of neurons that were taken out."""
        if hasattr(self.readout, "parts"):
            return sum(part.normed_width for part in self.readouts)
        silent = getattr(self.readout, "silent", 0) and READOUTS[self.readout.kind].side_by_side
        return self.view_width + (1 if silent and self.norm == "layer" else 0)
