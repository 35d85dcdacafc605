"""The options of the gates that come with the library; free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class SoftOptions(Options):
    """A factor in (0, 1) on what a neuron sends."""


@dataclass
class ActiveOptions(Options):
    """A neuron takes part in a round at a step, or rests: it costs nothing then (after arXiv 2306.11197)."""

    alone: ClassVar[bool] = True  # without a router, neurons rest from their memory
    bias: float = 2.0
    """Of p's logit at the start: with 2 neurons begin active (p = 0.88), with 0 they rest at half of the steps."""


@dataclass
class HardOptions(Options):
    """A factor in {0, 1} on what a neuron sends."""


@dataclass
class AddressOptions(Options):
    """Each step goes to the neurons whose learned signature it fits best; the others rest."""

    alone: ClassVar[bool] = True  # it has a meaning without a router, too
    top: int = 1
    """Neurons that take each step."""
    signature: int = 16
    """Numbers of a signature."""
    temperature: float = 0.3
    """Of the softmax over the cosines at the start; it is learned."""
    start: Literal["orthogonal", "random"] = "orthogonal"
    """How the signatures start: at right angles to one another, or anywhere."""
    information: float = 0.3
    """Weight (nats) of the penalty that lets few neurons serve a stream, and all of them some; 0: none."""
    balance: float = 4.0
    """How much more that all neurons are used counts in it than that few serve a stream."""
    table: list[int] = field(default_factory=list)
    """The neuron that takes each symbol, where it is known: nothing is learned then; []: it is not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "top", "signature")
        check_at_least(self, 0, "information", "balance")
        if not self.temperature > 0:
            raise InputError(f"temperature must be above 0, not {self.temperature}")

    def check(self, graph: Any) -> None:
        if self.top > graph.neurons:
            raise InputError(f"gate.top {self.top} is more than the {graph.neurons} neurons; lower it")
        if self.table and not 0 <= min(self.table) <= max(self.table) < graph.neurons:
            raise InputError(f"gate.table must name neurons from 0 to {graph.neurons - 1}, not {self.table}")


@dataclass
class ExpertsOptions(Options):
    """Groups of neurons, of which some take part at each step, chosen by what they read (after arXiv 2310.10908)."""

    alone: ClassVar[bool] = True
    experts: int = 2
    """Groups of equal size."""
    use: int = 1
    """How many of them take part; where all do, the graph is what it is without a gate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "experts", "use")
        if self.use > self.experts:
            raise InputError(f"use {self.use} is more than the {self.experts} experts; lower it")

    def check(self, graph: Any) -> None:
        if graph.neurons % self.experts:
            raise InputError(f"{graph.neurons} neurons do not make {self.experts} experts of equal size; "
                             "choose a number that divides them")  # fmt: skip
