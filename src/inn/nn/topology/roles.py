"""Who takes the input in, and who is read out: options that all topologies and readouts have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inn.config.checks import check_at_least
from inn.config.parts import Options
from inn.system.errors import InputError


@dataclass
class TopologyOptions(Options):
    """What the topologies have in common."""

    sensors: list[int] = field(default_factory=list, kw_only=True)
    """Neurons that take the input in (with `input: split` each its part, in this order); []: all of them."""

    def check(self, graph: Any) -> None:
        check_chosen("sensors", self.sensors, graph.neurons)


@dataclass
class ReadoutOptions(Options):
    """What the readouts have in common."""

    read: list[int] = field(default_factory=list, kw_only=True)
    """Neurons that are read out, in this order; []: all of them."""
    silent: float = field(default=0.0, kw_only=True)
    """Neurons that count besides, and say nothing: those that `inn.keep` has taken out."""
    gains: bool = field(default=False, kw_only=True)
    """A learned weight for each neuron that is read: those that `inn.grow` puts in start at 0, all others at 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "silent")

    def check(self, graph: Any) -> None:
        check_chosen("read", self.read, graph.neurons)


def check_alike(graph: Any, what: str) -> None:
    """Raise `InputError` where only some neurons are sensors, or are read out; `what` is the error's first half."""
    for name, part in (("sensors", graph.topology), ("read", graph.readout)):
        if chosen := getattr(part, name, None):
            raise InputError(f"{what}: {name} {list(chosen)} gives neurons different roles; use a model without it")
    if getattr(graph.readout, "silent", 0) or getattr(graph.readout, "gains", False):
        raise InputError(f"{what}: neurons were taken out of this model, or put into it, and do not count alike")


def check_chosen(name: str, chosen: list[int], neurons: int) -> None:
    """Raise `InputError` unless these are different neurons of so many."""
    for i in chosen:
        if not 0 <= i < neurons:
            raise InputError(f"{name} names neuron {i}, and there are neurons 0 to {neurons - 1} only")
    if len(set(chosen)) < len(chosen):
        raise InputError(f"{name} names a neuron twice in {list(chosen)}; name each once")
