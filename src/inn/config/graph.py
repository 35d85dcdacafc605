"""The options of a graph of neurons."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from inn.config.checks import check_at_least, check_fraction, check_literals
from inn.system.errors import InputError


@dataclass
class MemoryConfig:
    """The Mamba memory inside a neuron (Gu & Dao 2023): its sizes and where its time constants start."""

    memory: Literal["mamba"] = "mamba"
    """The primitive inside a neuron that carries state over time."""
    state: int = 16
    """State numbers per channel of the memory (S)."""
    conv: int = 4
    """Taps of the memory's causal convolution."""
    expand: int = 2
    """Channels of the memory per unit of width (E = expand x width)."""
    dt_rank: int | None = None
    """Rank of the step-size projection; width / 16, rounded up, when not given."""
    dt_min: float = 1e-3
    """Smallest step size at the start; the longest time constant is 1 / dt_min symbols."""
    dt_max: float = 1e-1
    """Largest step size at the start."""

    def check_memory(self) -> None:
        check_at_least(self, 1, "state", "conv", "expand", "dt_rank")
        if not 0 < self.dt_min <= self.dt_max:
            raise InputError(f"dt_min ({self.dt_min}) must be above 0 and not above dt_max ({self.dt_max})")


@dataclass
class GraphConfig(MemoryConfig):
    """A graph of neurons: population, memory, router, readout. By default N separate neurons that dendrites join."""

    neurons: int = 8
    """Neurons in the population (N)."""
    width: int = 64
    """Width of one neuron (D)."""
    rounds: int = 4
    """Rounds of communication and memory (R); the paper's layers."""
    share_rounds: bool = False
    """One set of weights for all rounds; the state stays one per round and neuron."""
    input: Literal["copy", "split"] = "split"
    """`copy`: every neuron receives the whole input (width D); `split`: its own N-th of an N x D wide one."""
    weights: Literal["shared", "separate", "communal"] = "separate"
    """One set for all neurons; one per neuron; `communal`: the same, made of states, those of what they read shared."""
    communal_states: int = 32
    """Numbers per neuronal state (k) of communal weights."""
    identity: Literal["none", "embedding", "silent"] = "none"
    """`embedding`: a learned vector per neuron, added to its input; `silent`: the same, times a gain from zero on."""
    identity_std: float = 0.02
    """Standard deviation of the identity embedding at the start."""
    timescales: Literal["same", "spread"] = "same"
    """`spread`: neuron n starts in its own part of the log-range dt_min..dt_max (needs separate weights)."""
    router: Literal["attention", "static", "mixing", "bus", "dendrites", "none"] = "dendrites"
    """How neurons exchange messages at one time step; `dendrites` lead into the memory, the others come after it."""
    heads: int = 4
    """Attention heads of the router."""
    qk_norm: bool = False
    """Normalise queries and keys of the attention router (RMS, with a learned gain)."""
    zero_start: bool = True
    """Start the messages at zero: the neurons begin silent and learn to talk. Not so dendrites."""
    bus_width: int = 64
    """Numbers that each neuron writes on the bus (m)."""
    routing_dropout: float = 0.0
    """Dropout on the routing weights."""
    norm: Literal["layer", "rms"] = "layer"
    """Layer norm, or RMS norm: no mean taken off and no bias, as in published Mambas."""
    update: Literal["sequential", "parallel", "message-norm"] = "sequential"
    """Published code (pre-norm, memory then messages), Equation 1 (both at once), Algorithm 1 (norm on the message)."""
    gate: Literal["none", "soft", "hard"] = "none"
    """A neuron's decision to emit at a step: a factor on its outgoing message, in (0, 1) or in {0, 1}."""
    gate_penalty: float = 0.0
    """Weight (nats) of the mean gate in the training loss: what it costs to talk."""
    readout: Literal["mean", "attention", "concat"] = "concat"
    """How the population becomes one vector."""
    dropout: float = 0.0
    """Dropout on the input, on what memory and messages add, and before the head."""

    def __post_init__(self) -> None:
        check_literals(self)
        self.check_memory()
        check_at_least(self, 1, "neurons", "width", "rounds", "heads", "bus_width")
        check_fraction(self, "dropout", "routing_dropout")
        check_at_least(self, 0, "gate_penalty", "identity_std")
        if self.router == "attention" and self.width % self.heads:
            raise InputError(
                f"width {self.width} is not divisible by heads {self.heads}; choose heads that divide the width"
            )
        if self.router == "dendrites" and self.update != "sequential":
            raise InputError(
                f"update '{self.update}' has no meaning with router 'dendrites', where messages come before memory; "
                "leave it out"
            )
        if self.timescales == "spread" and self.weights == "shared":
            raise InputError(
                "timescales 'spread' needs weights 'separate': shared weights have one set of time constants"
            )
        inputs = self.width * (self.neurons if self.router == "dendrites" else 1)
        if self.weights == "communal" and not 1 <= self.communal_states < inputs:
            raise InputError(
                f"communal_states must be from 1 to {inputs - 1}, fewer than the {inputs} numbers that a neuron reads, "
                f"not {self.communal_states}"
            )

    @property
    def populations(self) -> int:
        """Sets of weights in the population: 1 when shared, else N."""
        return 1 if self.weights == "shared" else self.neurons

    @property
    def channels(self) -> int:
        """Channels of a memory, E = expand x width."""
        return self.expand * self.width

    @property
    def memory_inputs(self) -> int:
        """Numbers per neuron that its in-projection, or its dendrites, hand to a memory: signal and gate of a Mamba."""
        return 2 * self.channels

    @property
    def rank(self) -> int:
        """Rank of the step-size projection."""
        return self.dt_rank or ceil(self.width / 16)

    @property
    def input_width(self) -> int:
        """Width of what the graph takes in: D copied, N x D split."""
        return self.width * (self.neurons if self.input == "split" else 1)

    @property
    def readout_width(self) -> int:
        """Width of what the graph gives out: N x D concatenated, else D."""
        return self.width * (self.neurons if self.readout == "concat" else 1)
