"""A model as boxes and wires: what each part takes in and gives, by named axes with their sizes, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from inn.config.typed import typed
from inn.models.drawing import Box, Diagram, Wire
from inn.models.names import HoldsGraph
from inn.models.sequence import SequenceModel
from inn.nn.feedback import SAID, FeedbackRound
from inn.nn.round import Round
from inn.registry import READOUTS
from inn.system.errors import InputError


@typed
def diagram(model: nn.Module) -> Diagram:
    """A model as boxes and wires.

    Args:
        model: a `SequenceModel`; of those without a graph of neurons the body is one box.

    Raises `InputError` for anything else.

    >>> from inn.models.inn import INN
    >>> diagram(INN(vocab=27, neurons=4, width=8, rounds=2)).boxes[1].gives.shape
    (0, 0, 32)
    """
    if not isinstance(model, SequenceModel):
        raise InputError(f"a diagram is of a model of this library, not of a {type(model).__name__}")
    maker = _Maker(model)
    (_graph if isinstance(model, HoldsGraph) else _layers)(maker)
    return Diagram(f"{model.config.kind}: {model.num_parameters:,} parameters", tuple(maker.boxes))


@dataclass
class _Maker:
    """Puts box to box, and counts each parameter once."""

    model: Any
    boxes: list[Box] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def box(
        self,
        name: str,
        takes: Iterable[tuple[int, Wire]],
        gives: Wire,
        parts: Sequence[str] = (),
        flops: Mapping[str, float] | float = 0.0,
        times: int = 1,
        state: int = 0,
        every: Sequence[str] = (),
    ) -> int:
        """Add a box and return its number; `every`: the modules of all rounds, of which `parts` names the first's."""
        takes = tuple(takes)
        given = [axis for _, wire in takes for axis in wire.axes]
        summed = tuple(dict.fromkeys(axis for axis in given if axis not in gives.axes))
        made = tuple(axis for axis in gives.axes if axis not in given) if takes else ()
        spent = flops if isinstance(flops, int | float) else sum(flops.values())
        count = sum(self.parameters(self.model.get_submodule(path)) for path in (every or parts))
        self.boxes.append(Box(name, takes, gives, summed, made, tuple(parts), count, spent, state, times))
        return len(self.boxes) - 1

    def parameters(self, module: nn.Module, recurse: bool = True) -> int:
        """Its parameters that no box has yet."""
        new = [p for p in module.parameters(recurse) if id(p) not in self.seen]
        self.seen |= set(map(id, new))
        return sum(p.numel() for p in new)

    def has(self, *names: str) -> list[str]:
        """Those of the model's children that are there, and do anything."""
        found = [name for name in names if getattr(self.model, name, None) is not None]
        return [name for name in found if not isinstance(getattr(self.model, name), nn.Identity)]


def wire(flat: bool = False, **sizes: int) -> Wire:
    """A wire of streams and steps, and these axes."""
    return Wire(("B", "T", *sizes), (0, 0, *sizes.values()), flat)


def _bytes(parts: Mapping[Any, Any]) -> int:
    return sum(t.numel() * t.element_size() for t in parts.values())


def _told(m: _Maker) -> Wire:
    """What the head gives."""
    c = m.model.config
    if hasattr(c, "vocab"):
        return wire(V=c.vocab)
    return wire(O=c.outputs, Q=len(c.levels)) if c.told == "quantiles" else wire(O=c.outputs)


def _way_in(m: _Maker, into: Wire, flops: Mapping[str, float]) -> int:
    c = m.model.config
    if hasattr(c, "vocab"):
        source = m.box("symbols", (), wire())
        return m.box("embedding", [(source, wire())], into, m.has("embedding", "widen"), flops.get("embedding", 0.0))
    source = m.box("signal", (), wire(C=c.features))
    return m.box("input", [(source, wire(C=c.features))], into, m.has("input"), flops["input"])


def _layers(m: _Maker) -> None:
    """A model without a graph: the way in, its body, the way out."""
    c, flops = m.model.config, dict(m.model.flops())
    ends = {"embedding", "input", "head"} & flops.keys()
    whole = {name: n for name, n in flops.items() if name not in ends}
    if not hasattr(c, "width"):  # a table
        source = m.box("symbols", (), wire())
        m.box(c.kind, [(source, wire())], _told(m), (), whole, state=m.model.initial_state(1).bytes)
        m.boxes[-1] = _with(m.boxes[-1], m.parameters(m.model))
        return
    x = wire(D=c.width)
    way_in = _way_in(m, x, flops)
    outside = {"embedding", "widen", "input", "head", "dropout"}
    body = [name for name, child in m.model.named_children() if name not in outside]
    layers = f", {c.layers} layers" if hasattr(c, "layers") else ""
    state = m.model.initial_state(1).bytes
    inner = m.box(c.kind.removeprefix("signal-") + layers, [(way_in, x)], x, body, whole, state=state)
    m.box("head", [(inner, x)], _told(m), m.has("head"), flops.get("head", 0.0))


def _with(box: Box, parameters: int) -> Box:
    return replace(box, parameters=box.parameters + parameters)


def _graph(m: _Maker) -> None:
    """A model of a graph of neurons, at the way in and out of symbols or signals."""
    model, graph = m.model, m.model.graph
    c, flops, state = graph.config, dict(model.flops()), model.initial_state(1)
    neurons, S = wire(N=c.neurons, D=c.width), len(c.sensors)
    split = c.input == "split"
    into = wire(flat=True, **{"N" if c.neurons == S else "S": S, "D": c.width}) if split else wire(D=c.width)
    entered = _way_in(m, into, flops)
    takes, recall = [(entered, into)], None
    if getattr(model, "recall", None) is not None:
        kept = _bytes(model.recall.initial_state(1))
        name = f"recall {c.recall.kind}"
        recall = m.box(name, [(0, wire())], neurons, ["recall"], model.recall.flops(), state=kept)
        takes.append((recall, neurons))
    x = m.box("neurons", takes, neurons)
    own = [p for p in (graph.identity, graph.identity_gain) if p is not None]
    m.seen |= set(map(id, own))
    m.boxes[x] = _with(m.boxes[x], sum(p.numel() for p in own) + (m.parameters(graph.wiring) if graph.wiring else 0))
    gate = None
    if graph.gate is not None:
        gate = m.box(f"gate {c.gate.kind}", [(x, neurons)], wire(N=c.neurons), ["backbone.gate"], graph.gate.flops())
    first = graph.round(0)
    x = (_feedback if isinstance(first, FeedbackRound) else _round)(m, first, x, gate, neurons)
    read = _read_wire(c, neurons)
    y = m.box(f"readout {c.readout.kind}", [(x, neurons)], read, ["backbone.readout"])
    takes = [(y, read)]
    if model.descriptors is not None:
        k = wire(K=model.descriptors.directions.shape[0])
        kept = _bytes(model.descriptors.initial_state(1))
        seen = m.box("descriptors", takes, k, ["descriptors"], model.descriptors.flops(), state=kept)
        takes = [*takes, (seen, k)]
    normed = read if c.views > 1 or c.normed_width == c.readout_width else wire(F=c.normed_width)
    if m.has("norm"):
        y = m.box("norm", takes, normed, ["norm"])
    if c.views > 1:
        y, normed = m.box("last view", [(y, normed)], wire(D=c.view_width)), wire(D=c.view_width)
    takes = [(y, normed)]
    if getattr(model, "votes", None) is not None:
        V, found = wire(V=model.config.vocab), Wire(("B", "T", "N", "M"), (0, 0, c.neurons, 0))
        said = m.box("votes", [(recall or 0, found), (y, normed)], V, ["votes"], model.votes.flops())
        takes.append((said, V))
    rest = state.bytes - sum(box.state * box.times for box in m.boxes)
    m.box("head", takes, _told(m), m.has("bridge", "head"), flops["head"], state=rest)


def _read_wire(c: Any, neurons: Wire) -> Wire:
    """What a readout gives of the neurons."""
    if READOUTS[c.readout.kind].side_by_side and c.readout_width == len(c.read) * c.width:
        return wire(flat=True, **{"N" if len(c.read) == c.neurons else "R": len(c.read), "D": c.width})
    if c.views > 1:
        return wire(flat=True, K=c.views, D=c.view_width)
    return wire(D=c.width) if c.readout_width == c.width else wire(F=c.readout_width)


class _InRounds:
    """The boxes of a round, which stand for all of them."""

    def __init__(self, m: _Maker, first: Round, neurons: Wire):
        self.m, self.first, self.neurons = m, first, neurons
        self.c = m.model.graph.config
        self.flops = first.flops_by_child()
        self.kept = dict(first.initial_state(1))
        self.share = 1 if self.c.share_rounds else self.c.rounds

    def box(self, name: str, child: str, takes: Iterable[tuple[int, Wire]], gives: Wire) -> int:
        """A child of each round; what it costs is that of the first, for all are alike."""
        part = getattr(self.first, child)
        state = part.initial_state(1) if child in ("memory", "router") else {}
        for key in state:
            self.kept.pop(key, None)
        paths = [f"backbone.rounds.{r}.{child}" for r in range(self.share)]
        kept = _bytes(state)
        return self.m.box(name, takes, gives, paths[:1], self.flops.get(child, {}), self.c.rounds, kept, paths)

    def joined(self, child: str, x: int, y: int) -> int:
        """What neurons were and what is put to them, as one."""
        both = [(x, self.neurons), (y, self.neurons)]
        if getattr(self.first, child, None) is None:
            return self.m.box("x + y", both, self.neurons, times=self.c.rounds)
        return self.box(f"residual {self.c.residual}", child, both, self.neurons)

    def inner(self, x: int) -> int:
        if self.first.inner is None:
            return x
        y = self.box("norm", "inner_norm", [(x, self.neurons)], self.neurons)
        y = self.box(f"inner map {self.c.inner.kind}", "inner", [(y, self.neurons)], self.neurons)
        return self.m.box("x + y", [(x, self.neurons), (y, self.neurons)], self.neurons, times=self.c.rounds)

    @property
    def memory(self) -> str:
        """The memory's name; of a mixed population with how many neurons have each."""
        if len(self.c.groups) == 1:
            return f"memory {self.c.memory.kind}"
        return "memory " + ", ".join(f"{g.neurons} {g.memory.kind}" for g in self.c.groups)

    @property
    def message(self) -> Wire:
        """What a router gives: the memory's inputs where it leads into it."""
        if not self.c.into_memory or self.c.memory_inputs == self.c.width:
            return self.neurons
        return wire(N=self.c.neurons, I=self.c.memory_inputs)


def _round(m: _Maker, first: Round, x: int, gate: int | None, neurons: Wire) -> int:
    """A round's boxes; returns the number of the last one."""
    in_, c = _InRounds(m, first, neurons), m.model.graph.config
    who = [] if gate is None else [(gate, wire(N=c.neurons))]
    rests = first.gate is not None and first.gate.rests

    def asked(y: int) -> list[tuple[int, Wire]]:
        """The gate's answer on what neurons are, where each round has one."""
        if first.gate is None:
            return who
        there = in_.box(f"gate {c.gate.kind}", "gate", [(y, neurons)], wire(N=c.neurons))
        return [(there, wire(N=c.neurons))]

    start, heard, message = x, in_.box("norm", "memory_norm", [(x, neurons), *who], neurons), in_.message
    present = asked(heard) if rests else who
    router, name = first.router, f"router {c.router.kind}, {c.topology.kind}"
    if router is not None and router.into_memory:
        emit = present if rests or first.gate is None else asked(heard)
        told = in_.box(name, "router", [(heard, neurons), *emit], message)
        y = in_.box(in_.memory, "memory", [(told, message)], neurons)
    else:
        y = in_.box(in_.memory, "memory", [(heard, neurons), *(present if rests else [])], neurons)
    x = in_.joined("memory_residual", start, y)
    if router is not None and first.router_norm is not None:
        source = start if first.update == "parallel" else x
        late = first.update == "message-norm"
        y = source if late else in_.box("norm", "router_norm", [(source, neurons)], neurons)
        emit = present if rests or first.gate is None else asked(y)
        y = in_.box(name, "router", [(y, neurons), *emit], neurons)
        y = in_.box("norm", "router_norm", [(y, neurons)], neurons) if late else y
        x = in_.joined("router_residual", x, y)
    return in_.inner(x)


def _feedback(m: _Maker, first: Round, x: int, gate: int | None, neurons: Wire) -> int:
    """The boxes of a round whose router hears what memories gave a step before."""
    in_, c = _InRounds(m, first, neurons), m.model.graph.config
    who = [] if gate is None else [(gate, wire(N=c.neurons))]
    rests = first.gate is not None and first.gate.rests
    assert first.router is not None
    into, message = first.router.into_memory, in_.message
    normed = in_.box("norm", "memory_norm", [(x, neurons), *who], neurons) if into or rests else x
    there = who
    if first.gate is not None and rests:
        there = [(in_.box(f"gate {c.gate.kind}", "gate", [(normed, neurons)], wire(N=c.neurons)), wire(N=c.neurons))]
    kept = _bytes({name: t for name, t in in_.kept.items() if name == SAID})
    heard = m.box("said a step before", (), neurons, state=kept, times=c.rounds)
    if first.router_norm is not None:
        heard = in_.box("norm", "router_norm", [(heard, neurons)], neurons)
    if first.gate is not None and not rests:
        there = [(in_.box(f"gate {c.gate.kind}", "gate", [(heard, neurons)], wire(N=c.neurons)), wire(N=c.neurons))]
    name = f"router {c.router.kind}, {c.topology.kind}"
    takes = [(heard, neurons), *([(normed, neurons)] if into else []), *there]
    told = in_.box(name, "router", takes, message)
    if not into:
        x = in_.joined("router_residual", x, told)
        told = in_.box("norm", "memory_norm", [(x, neurons)], neurons)
    y = in_.box(in_.memory, "memory", [(told, message)], neurons)
    return in_.inner(in_.joined("memory_residual", x, y))
