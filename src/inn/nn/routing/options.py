"""The options of the routers that come with the library; free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from inn.config.checks import check_at_least, check_fraction, check_idle, needs
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class RouterOptions(Options):
    """What the routers have in common."""

    lag: Literal[0, 1] = 0
    """1: neurons hear what the others' memories gave at the step before, so that the population feeds itself back."""

    def check(self, graph: Any) -> None:
        if self.lag:
            check_sequential(graph, "lag 1")


def check_sequential(graph: Any, beside: str) -> None:
    """Raise `InputError` where the graph puts messages after the memory, or beside it."""
    if graph.update != "sequential":
        raise InputError(
            f"update '{graph.update}' has no meaning with {beside}, where messages come before memory; leave it out"
        )


@dataclass
class MessageOptions(RouterOptions):
    """A router whose messages come after the memory."""

    zero_start: bool = True
    """Start the messages at zero: the neurons learn to send messages."""


@dataclass
class AttentionOptions(MessageOptions):
    """Attention over the neurons of one time step (arXiv 2511.22813, equation 4)."""

    heads: int = 4
    """Attention heads of the router."""
    qk_norm: bool = False
    """Normalise queries and keys of the attention router (RMS, with a learned gain)."""
    routing_dropout: float = 0.0
    """Dropout on the routing weights."""
    activation: Literal["softmax", "sigmoid", "relu2", "stick", "fourier"] = "softmax"
    """What makes weights of logits: a softmax over the sources; σ or a squared ReLU of each edge; shares of a stick,
    broken off in order; a learned Fourier series of all the row. Only the softmax's rows sum to 1."""
    sink: bool = needs(False, "activation", "softmax".__eq__, "softmax")
    """A learned logit for nobody among the sources (the same as a neuron that does nothing): one may listen to it."""
    fourier_terms: int = needs(3, "activation", "fourier".__eq__, "fourier")
    """Frequencies of the series (G)."""
    fourier_rank: int = needs(12, "activation", "fourier".__eq__, "fourier")
    """Functions that a row's weights are mixed of (r)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_idle(self)
        check_at_least(self, 1, "heads", "fourier_terms", "fourier_rank")
        check_fraction(self, "routing_dropout")

    def check(self, graph: Any) -> None:
        super().check(graph)
        if graph.width % self.heads:
            raise InputError(
                f"width {graph.width} is not divisible by heads {self.heads}; choose heads that divide the width"
            )


@dataclass
class MixingOptions(MessageOptions):
    """A learned weight for every edge, whatever the input, or for every class of edges that the topology names."""

    zero_start: bool = needs(True, "maps", bool, "true")
    """Start the messages at zero: the neurons learn to send messages."""
    maps: bool = True
    """Maps of what is said and of what is heard around the weights; false: it is heard as it is, times a weight."""
    class_start: Literal["one", "uniform"] = "one"
    """The weight of a class of edges at the start: 1 or -1, by the class's sign, or uniform in that half of [-1, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_idle(self)

    def check(self, graph: Any) -> None:
        super().check(graph)
        if self.class_start != "one" and not getattr(graph.topology, "classes", None):
            raise InputError(
                f"class_start '{self.class_start}' does nothing without classes of edges; name classes in topology "
                "'file' or 'edges', or leave it out"
            )


@dataclass
class MixtureOptions(MessageOptions):
    """Each neuron asks a few of the others, chosen by what it holds itself, and only they answer."""

    top: int = 2
    """Neurons that answer, of those that a neuron may hear (k)."""
    sampled: int = 0
    """Of these, so many are drawn by their probabilities in training."""
    address_width: int = 16
    """Numbers of a neuron's address, by which it is chosen."""
    loss: Literal["none", "mi", "switch", "concentrate"] = "none"
    """What training adds of the choices of a micro-batch: `mi` H(e|x) - H(e), sure and even; `switch`, that all are
    asked alike; `concentrate` H(e), that few are asked at all, before the others are removed."""
    loss_weight: float = needs(0.1, "loss", "none".__ne__, "mi")
    """Weight of that loss, which is in nats."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_idle(self)
        check_at_least(self, 1, "top", "address_width")
        check_at_least(self, 0, "sampled", "loss_weight")
        if self.sampled > self.top:
            raise InputError(f"sampled {self.sampled} is more than top {self.top}; lower it")


@dataclass
class BusOptions(MessageOptions):
    """A gated bus: each neuron writes a few numbers, each neuron reads all of them."""

    bus_width: int = 64
    """Numbers that each neuron writes on the bus (m)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "bus_width")


@dataclass
class DendritesOptions(RouterOptions):
    """A weight matrix for every edge; the sum of the messages is the input of the memory."""

    def check(self, graph: Any) -> None:
        check_sequential(graph, "router 'dendrites'")

    def inputs(self, graph: Any) -> int:
        return graph.width * graph.neurons


@dataclass
class WorkspaceOptions(Options):
    """One vector made of all neurons, which all of them hear at the next step."""

    lag: ClassVar[int] = 1
    zero_start: bool = True
    """Start the messages at zero: the neurons learn to hear the workspace."""
    workspace_width: int = 64
    """Numbers of the vector."""
    heads: int = 4
    """Attention heads by which the vector is read from the neurons."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "workspace_width", "heads")
        if self.workspace_width % self.heads:
            raise InputError(
                f"workspace_width {self.workspace_width} is not divisible by heads {self.heads}; "
                "choose heads that divide it"
            )

    def check(self, graph: Any) -> None:
        check_sequential(graph, "router 'workspace'")
