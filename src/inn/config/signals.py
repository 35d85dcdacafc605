"""The options of models that read signals: vectors of numbers, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from inn.config.checks import check_at_least, check_fraction, check_idle, check_types, needs
from inn.config.graph import GraphConfig
from inn.config.parts import part, settle_parts
from inn.registry import MEMORIES
from inn.system.errors import InputError


@dataclass
class SignalOptions:
    """What a model of signals reads and tells, whatever is between."""

    features: int = 1
    """Channels of the signal; training takes it from the data."""
    outputs: int = 1
    """Classes, or numbers told at each step; training takes it from the data. Of head `next`: as many as features."""
    head: Literal["auto", "classes", "values", "next", "quantiles"] = "auto"
    """Logits of classes, values, the signal's next step (as a change from the last one), or quantiles of values;
    `auto`: what the data has, and of no data values."""
    quantiles: list[float] = needs([0.1, 0.5, 0.9], "head", "quantiles".__eq__, "quantiles")
    """Quantiles that are told of each value, rising."""
    pool: Literal["none", "mean"] = "none"
    """`mean`: predict from the mean of the hidden states so far."""

    def check_signal(self) -> None:
        check_at_least(self, 1, "features", "outputs")
        if self.head == "next" and self.outputs not in (1, self.features):
            raise InputError(
                f"head 'next' tells the {self.features} features, not {self.outputs} outputs; leave outputs out"
            )
        if self.head == "next":
            self.outputs = self.features
        if not self.quantiles or any(a >= b for a, b in pairwise([0.0, *self.quantiles, 1.0])):
            raise InputError(f"quantiles must rise and lie between 0 and 1, unlike {self.quantiles}")

    @property
    def told(self) -> str:
        """What is told: the head, `auto` being values."""
        return "values" if self.head == "auto" else self.head

    @property
    def levels(self) -> list[float]:
        """The quantiles that are told; none with another head."""
        return list(self.quantiles) if self.head == "quantiles" else []


@dataclass
class SignalConfig(GraphConfig, SignalOptions):
    """A graph of neurons that reads signals: linear in, graph, head."""

    kind: Literal["signal"] = "signal"
    """The kind of model."""
    channels: Literal["all", "split"] = "all"
    """`split`: each neuron reads a part of the channels, and is skipped while all of them are missing."""
    elapsed: int | None = None
    """Channel that holds the time since the step before, which memories that take it (`liquid`) are told, in units of
    its mean in training."""
    absent: float = needs(0.0, "channels", "split".__eq__, "split")
    """Chance of each neuron to be skipped in a row of a training batch: practice for channels that fail."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_signal()
        check_fraction(self, "absent")
        check_at_least(self, 0, "elapsed")
        if self.channels == "split" and self.input != "split":
            raise InputError(f"channels 'split' needs input 'split', not '{self.input}': each neuron has its own input")

    def channels_of(self, sensor: int) -> list[int]:
        """The channels that a sensor reads (a neuron, where none are named): its part, one where they are few."""
        size, parts = max(self.features, len(self.sensors)), len(self.sensors)
        first, last = (n * size // parts for n in (sensor, sensor + 1))
        return sorted({place * self.features // size for place in range(first, last)})


@dataclass
class SignalLSTMConfig(SignalOptions):
    """LSTM or GRU layers (PyTorch's own) that read signals, dropout between layers and before the head."""

    kind: Literal["signal-lstm", "signal-gru"] = "signal-lstm"
    """The kind of model."""
    width: int = 256
    """Width of a layer."""
    layers: int = 2
    """Layers."""
    dropout: float = 0.0
    """Dropout between layers and before the head."""

    def __post_init__(self) -> None:
        check_types(self)
        check_idle(self)
        self.check_signal()
        check_at_least(self, 1, "width", "layers")
        check_fraction(self, "dropout")


@dataclass
class SignalMambaConfig(SignalOptions):
    """A stack of Mamba blocks that reads signals: a graph of one neuron without messages."""

    kind: Literal["signal-mamba"] = "signal-mamba"
    """The kind of model."""
    width: int = 256
    """Width of a block."""
    layers: int = 6
    """Blocks."""
    memory: Any = part(MEMORIES, "mamba")
    """The recurrent part of a block, which carries state over time."""
    dropout: float = 0.0
    """Dropout on the input, on the output of each block, and before the head."""

    def __post_init__(self) -> None:
        check_types(self)
        settle_parts(self)
        check_idle(self)
        self.check_signal()
        check_at_least(self, 1, "width", "layers")
        check_fraction(self, "dropout")


@dataclass
class SignalTransformerConfig(SignalOptions):
    """The modern Transformer (`transformer`) that reads signals."""

    kind: Literal["signal-transformer"] = "signal-transformer"
    """The kind of model."""
    width: int = 256
    """Width of a layer."""
    layers: int = 6
    """Layers."""
    heads: int = 4
    """Attention heads."""
    hidden: int | None = None
    """Hidden width of the SwiGLU; default: 8/3 of the width, rounded up to a multiple of 8."""
    window: int = 256
    """Steps that attention looks back on; streaming slides this window."""
    dropout: float = 0.0
    """Dropout on the output of each sublayer."""
    embedding_std: float = 0.02
    """Standard deviation of the layers' weight matrices at the start."""

    def __post_init__(self) -> None:
        check_types(self)
        check_idle(self)
        self.check_signal()
        check_at_least(self, 1, "width", "layers", "heads", "hidden", "window")
        check_at_least(self, 0, "embedding_std")
        check_fraction(self, "dropout")
        if self.width % (2 * self.heads):
            raise InputError(
                f"width {self.width} must be a multiple of 2 x heads ({2 * self.heads}) for rotary positions"
            )
