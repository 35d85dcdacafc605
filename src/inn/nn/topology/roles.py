"""Who takes the input in, and who is read out: options that all topologies and readouts have."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from inn.config.checks import check_at_least
from inn.config.parts import Options, settled
from inn.registry import READOUTS
from inn.system.errors import InputError


@dataclass
class TopologyOptions(Options):
    """What the topologies have in common."""

    sensors: list[int] = field(default_factory=list, kw_only=True)
    """Neurons that take the input in (with `input: split` each its part, in this order); []: all of them."""

    def check(self, graph: Any) -> None:
        check_chosen("sensors", self.sensors, graph.neurons)


LONGEST = 4096
"""Steps that an edge takes, at most: routers keep all of them of every neuron."""


@dataclass
class LagOptions(TopologyOptions):
    """What topologies that list their edges have in common."""

    lags: list[int] = field(default_factory=list, kw_only=True)
    """Steps that edges from one neuron to another take: [3] all, [1, 8] drawn from this range for each; []: none."""
    lag_seed: int = field(default=0, kw_only=True)
    """Seed of these draws."""
    lag_window: int | None = field(default=None, kw_only=True)
    """Steps that routers keep of what neurons sent; as many as the longest lag when not given."""

    def longest(self) -> int:
        """The longest lag that an edge may have."""
        return max(self.lags, default=0)

    def check(self, graph: Any) -> None:
        super().check(graph)
        if self.lags and not (len(self.lags) <= 2 and 0 <= self.lags[0] <= self.lags[-1]):
            raise InputError(f"lags must be [steps] or [from, to] in steps from 0 on, not {self.lags}")
        if self.lag_seed and len(self.lags) < 2:
            raise InputError(
                f"lag_seed {self.lag_seed} is of a range to draw from, and lags is {self.lags}; leave it out"
            )
        longest, window = self.longest(), self.lag_window
        if window is not None and not longest:
            raise InputError(f"lag_window {window} is of edges with lags, and none has one; leave it out")
        if longest > LONGEST:
            raise InputError(f"a lag is at most {LONGEST} steps, not {longest}; lower it")
        if window is not None and longest > window:
            raise InputError(f"a lag of {longest} steps is above lag_window {window}; lower it, or raise lag_window")


@dataclass
class ReadOptions(Options):
    """What the readouts have in common."""

    read: list[int] = field(default_factory=list, kw_only=True)
    """Neurons that are read out, in this order; []: all of them."""

    def check(self, graph: Any) -> None:
        check_chosen("read", self.read, graph.neurons)


@dataclass
class ReadoutOptions(ReadOptions):
    """Those of readouts that neurons can be taken from, and given to."""

    silent: float = field(default=0.0, kw_only=True)
    """Neurons that count besides, and say nothing: those that `inn.keep` has taken out."""
    gains: bool = field(default=False, kw_only=True)
    """A learned weight for each neuron that is read: those that `inn.grow` puts in start at 0, all others at 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "silent")


@dataclass
class ConcatOptions(ReadoutOptions):
    """Those of a readout whose neurons may be of organs: parts of which one answers at a time (`inn.learn_on`)."""

    organs: list[list[int]] = field(default_factory=list, kw_only=True)
    """The neurons of each organ; those of none always answer. The organ that fits what is read answers with them, or
    none does; needs `gains`."""
    rank: int = field(default=32, kw_only=True)
    """Directions of a descriptor, by which it is known what is read."""
    span: int = field(default=256, kw_only=True)
    """Steps that a descriptor looks back on, the last ones counting most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "rank", "span")

    def check(self, graph: Any) -> None:
        super().check(graph)
        named = [n for organ in self.organs for n in organ]
        check_chosen("organs", named, graph.neurons)
        if not self.organs:
            if (self.rank, self.span) != (32, 256):
                raise InputError("rank and span are of descriptors, and readout.organs names no organs; leave them out")
            return
        if not all(self.organs) or not set(graph.read) - set(named) or not set(named) <= set(graph.read):
            raise InputError(
                f"organs {self.organs} must each name neurons that are read out, and leave some that are of none"
            )
        if not self.gains or graph.norm == "none":
            raise InputError("organs are told apart by the last norm: set readout.gains, and a norm")


@dataclass
class PartsOptions(ReadOptions):
    """Parts of the neurons are read by themselves, and a model tells the mean of what they say (`inn.merge`)."""

    parts: list[dict[str, Any]] = field(default_factory=list)
    """How many neurons each has, in the order of `read`, and how they are read: [{neurons: 6, readout: mean},
    {neurons: 2}], side by side where it is not said; []: every neuron is a part."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in self.parts:
            if unknown := set(part) - {"neurons", "readout"}:
                raise InputError(f"a part of the readout has neurons and readout, not '{min(map(str, unknown))}'")
            if type(n := part.get("neurons")) is not int or n < 1:
                raise InputError(f"a part of the readout must say its neurons, like {{neurons: 2}}, not {part!r}")
        own: list[Any] = [settled("readout", READOUTS, part.get("readout", "concat")) for part in self.parts]
        if bad := [r.kind for r in own if hasattr(r, "parts") or not hasattr(r, "read")]:
            raise InputError(f"a part cannot be read by readout '{bad[0]}'; use concat, mean or attention")
        if any(getattr(r, "organs", []) for r in own):
            raise InputError("a part of the readout has no organs of its own; keep one of none first")
        if any(r.read for r in own):
            raise InputError(
                "a part reads so many neurons of `read`, which names them for all parts; leave it out there"
            )
        self.parts = [{"neurons": part["neurons"], "readout": r} for part, r in zip(self.parts, own)]

    def check(self, graph: Any) -> None:
        super().check(graph)
        if self.parts and (number := sum(p["neurons"] for p in self.parts)) != len(graph.read):
            raise InputError(f"the parts of the readout have {number} neurons, and {len(graph.read)} are read")

    def of(self, read: Any) -> list[Any]:
        """The readout of each part, `read` being all neurons that are read."""
        found, first = [], 0
        for part in self.parts or [{"neurons": 1, "readout": settled("readout", READOUTS, "concat")}] * len(read):
            found.append(replace(part["readout"], read=[*read[first : first + part["neurons"]]]))
            first += part["neurons"]
        return found


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
