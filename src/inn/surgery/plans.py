"""What a model becomes when neurons or rounds are taken out, or neurons put in: its configuration, and who was who."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from inn.config.parts import settled
from inn.nn.graph import Graph
from inn.nn.population import CommunalLinear
from inn.nn.topology.base import learned
from inn.nn.topology.edges import Edges
from inn.nn.topology.options import EdgesOptions
from inn.registry import MEMORIES, READOUTS, RECALLS
from inn.surgery.reading import Places, columns_of, config_of, fewer_read, graph_of, organs_of
from inn.system.errors import InputError

LISTED = 256
"""Neurons of a complete graph that can be written out edge by edge, at most."""


@dataclass
class Plan:
    """A new model's configuration, and for its neurons, its sensors and those that are read the old model's places."""

    config: Any
    neurons: Places
    sensors: Places
    read: Places


def along(places: Places, size: int, device: Any) -> tuple[Tensor, Tensor]:
    """Of an axis with `size` numbers for each of the new ones: where those of the old ones go, and where they were."""
    pairs = torch.tensor([(i, p) for i, p in enumerate(places) if p is not None], dtype=torch.long, device=device)
    to, source = pairs.reshape(-1, 2).unbind(1)
    block = torch.arange(size, device=device)
    return (to[:, None] * size + block).flatten(), (source[:, None] * size + block).flatten()


def starts(config: Any) -> list[int]:
    """The first neuron of each group of a population, and how many neurons there are."""
    sizes = [g["neurons"] for g in config.population] or [config.neurons]
    return [sum(sizes[:i]) for i in range(len(sizes) + 1)]


def chosen(what: str, given: Sequence[int], there: int) -> list[int]:
    """Numbers in order, each once; raises `InputError` for none, and for one that is not there."""
    bad = next((n for n in given if not 0 <= n < there), None)
    if bad is not None:
        raise InputError(f"there is no {what} {bad}; there are {what}s 0 to {there - 1}")
    if not (found := sorted(set(given))):
        raise InputError(f"no {what} is named; name at least one of {what}s 0 to {there - 1}")
    return found


def fewer_rounds(model: Any, kept: list[int]) -> Any:
    """A copy with these rounds only."""
    c = config_of(model)
    new = type(model)(replace(c, rounds=len(kept)))
    like = next(model.parameters())
    new = new.to(like.device, like.dtype)
    tensors = dict(model.state_dict())
    if not c.share_rounds:
        prefix = "" if isinstance(model, Graph) else "backbone."
        for name in [n for n in tensors if n.startswith(f"{prefix}rounds.")]:
            r, _, rest = name.removeprefix(f"{prefix}rounds.").partition(".")
            value = tensors.pop(name)
            if int(r) in kept:
                tensors[f"{prefix}rounds.{kept.index(int(r))}.{rest}"] = value
    new.load_state_dict(tensors)
    return new


def fewer(model: Any, kept: list[int]) -> Plan:
    """The plan of a model that has only these of its neurons."""
    c, graph = config_of(model), graph_of(model)
    place = {old: new for new, old in enumerate(kept)}
    removed = [n for n in range(c.neurons) if n not in place]
    if not removed:
        everyone = list(range(c.neurons))
        return Plan(copy.deepcopy(c), [*everyone], [*range(len(c.sensors))], [*range(len(c.read))])
    check_resizable(c, graph, "taken out")
    for name, role, whose in (("sensors", c.sensors, "takes the input in"), ("read", c.read, "is read out")):
        if not any(n in place for n in role):
            raise InputError(f"none of the neurons that are left {whose} ({name} {list(role)}); keep one of these")
    fields: dict[str, Any] = {"neurons": len(kept), "topology": _of_kept(graph, place)}
    if c.population:
        sizes, first = [], 0
        for group in c.population:
            sizes.append(sum(first <= n < first + group["neurons"] for n in kept))
            first += group["neurons"]
        groups = [{**g, "neurons": n} for g, n in zip(c.population, sizes) if n]
        fields |= {"population": groups} if len(groups) > 1 else {"population": [], "memory": groups[0]["memory"]}
    if getattr(c.router, "top", 0) > len(kept):
        fields["router"] = replace(c.router, top=len(kept), sampled=min(c.router.sampled, len(kept)))
    if getattr(c.inner, "each", False):
        fields["inner"] = replace(c.inner, families=[c.inner.families[n] for n in kept])
    fields["readout"] = fewer_read(model, place)
    old_sensors, old_read = [*c.sensors], [*c.read]
    sensors: Places = [i for i, n in enumerate(old_sensors) if n in place]
    return _settled(c, fields, Plan(None, [*kept], sensors, [i for i, n in enumerate(old_read) if n in place]))


def more(
    model: Any,
    count: int,
    memory: Any = None,
    seed: int = 0,
    heard: bool = False,
    shapes: bool = False,
    organ: bool = False,
) -> Plan:
    """The plan of a model that has so many neurons more, which all may hear where `heard`, whatever comes of it.

    `memory`: of all, or of each in a list. `shapes`: for the shapes of tensors alone, the edges do not matter. `organ`:
    they answer where a descriptor of theirs fits.
    """
    c, graph = config_of(model), graph_of(model)
    check_resizable(c, graph, "put in")
    if organs_of(c) and not organ and not shapes:
        raise InputError(
            "neurons cannot be put in: descriptors look at those of no organ, and these would be some; use inn.learn_on"
        )
    there, new = c.neurons, range(c.neurons, c.neurons + count)
    topology = EdgesOptions([], kind="edges") if shapes and graph.edges is not None and graph.wiring is None else None
    topology = topology or _of_more(graph, count, seed, heard or shapes)
    fields: dict[str, Any] = {"neurons": there + count, "topology": topology}
    groups = [dict(g) for g in c.population] or [{"neurons": there, "memory": c.memory}]
    for one in memory if isinstance(memory, list) else [memory] * count:
        last = groups[-1]["memory"]
        own = last if one in (None, last.kind) else settled("memory", MEMORIES, one)
        if own == last:
            groups[-1]["neurons"] += 1
        else:
            groups.append({"neurons": 1, "memory": own})
    if len(groups) > 1:
        fields["population"] = groups
    if getattr(c.inner, "each", False):
        fields["inner"] = replace(c.inner, families=[*c.inner.families, *[c.inner.families[-1]] * count])
    listed = [*c.readout.read, *new] if c.readout.read else []
    own = {"organs": [*organs_of(c), [*new]]} if organ else {}
    parts = getattr(c.readout, "parts", None)
    if parts is None:
        fields["readout"] = replace(c.readout, read=listed, gains=True, **own)
    else:  # the last part reads the new ones
        each = [{"neurons": len(r.read), "readout": replace(r.readout, read=[])} for r in c.readouts]
        last = each[-1]
        each[-1] = {"neurons": last["neurons"] + count, "readout": replace(last["readout"], gains=True)}
        fields["readout"] = replace(c.readout, read=listed, parts=each)
    absent: Places = [None] * count
    sensors: Places = [*range(len(c.sensors))]
    if not getattr(c.topology, "sensors", None):
        sensors += absent
    return _settled(c, fields, Plan(None, [*range(there), *absent], sensors, [*range(len(c.read)), *absent]))


def _settled(c: Any, fields: dict[str, Any], plan: Plan) -> Plan:
    """The plan with its configuration: each neuron's own contexts, and whether the head can stay tied."""
    if hasattr(c, "recall"):
        own = [(c.recall, c.neurons, i if place is None else place) for i, place in enumerate(plan.neurons)]
        if hasattr(c.recall, "of_more"):
            new = [i for i, place in enumerate(plan.neurons) if place is None]
            for i, options in zip(new, c.recall.of_more(c.neurons, len(new)), strict=True):
                own[i] = options, 1, 0
        fields["recall"] = recall_of(c.recall, own)
    new = replace(c, **fields)
    if getattr(c, "tied", False) and not _stays_tied(c, new, plan):
        new = replace(new, tied=False)
    plan.config = new
    return plan


def recall_of(options: Any, whose: Sequence[tuple[Any, int, int]]) -> Any:
    """The options of recall of neurons, each of them one of a model's: see `inn.nn.recall.base.Recall.of_neurons`."""
    kind = RECALLS[options.kind]
    return options if kind is None else kind.of_neurons(options, whose)


def _stays_tied(old: Any, new: Any, plan: Plan) -> bool:
    """Whether the embedding's numbers are still those of the head, directly or over the map between them."""
    if old.embedding_width is not None:
        return True
    split = old.input == "split"
    was, is_ = (c.normed_width != c.input_width for c in (old, new))
    if not was and not is_:
        return (plan.sensors if split else [0]) == columns_of(old, new, plan.read)
    lost = split and sum(p is not None for p in plan.sensors) < len(old.sensors)
    return is_ and not lost


def check_resizable(c: Any, graph: Graph, done: str) -> None:
    """Raise `InputError` where a part does something with all neurons at once that cannot be had with others."""
    activation = getattr(c.router, "activation", "softmax")
    listed = graph.edges is not None and graph.wiring is None
    maps = [m for r in graph.rounds if r.router is not None for m in r.router.modules()]  # type: ignore[union-attr]
    why = None
    if c.gate.kind == "address":
        why = "gate 'address' shares the steps out among all neurons"
    elif c.gate.kind == "experts":
        why = "gate 'experts' has them in groups of equal size (inn.unsplit takes it off)"
    elif c.spikes:
        why = "counts of spikes have a unit that depends on all neurons (spikes)"
    elif getattr(c, "channels", "all") == "split":
        why = "channels 'split' deals the channels out among all neurons"
    elif not READOUTS[c.readout.kind].resizable:
        why = f"readout '{c.readout.kind}' does not say that it heeds `silent` and `gains` (its `resizable`)"
    elif c.norm == "none" and done == "put in" and any(READOUTS[r.readout.kind].side_by_side for r in c.readouts):
        why = f"without a norm (norm none) readout '{c.readout.kind}' has no weights for new neurons"
    elif activation in ("sigmoid", "relu2"):
        why = f"activation '{activation}' divides by the number of neurons that are heard"
    elif activation == "fourier" and listed:
        why = "activation 'fourier' knows listed edges by their order"
    elif listed and any(isinstance(m, CommunalLinear) for m in maps) and graph.round(0).router.into_memory:  # type: ignore[union-attr]
        why = "communal weights have the states of listed edges in common"
    elif getattr(c, "head", None) == "adaptive" and READOUTS[c.readout.kind].side_by_side:
        why = f"with readout '{c.readout.kind}' parts of an adaptive head are as wide as there are neurons"
    if why:
        remedy = "; give `present` or a lesion where some are not wanted" if done in ("taken out", "put in") else ""
        raise InputError(f"neurons cannot be {done}: {why}{remedy}")


def _of_kept(graph: Graph, place: dict[int, int]) -> Any:
    """The topology of the neurons that stay, by their new numbers."""
    own = graph.config.topology
    sensors = [place[n] for n in getattr(own, "sensors", []) if n in place]
    fields: dict[str, Any] = {"sensors": sensors} if hasattr(own, "sensors") else {}
    if getattr(own, "start", None):
        fields["start"] = [own.start[n] for n in place]
    edges = None if learned(graph.config) else graph.edges
    if edges is None:
        return replace(own, **fields)
    pairs = [[place[e[0]], place[e[1]], *e[2:]] for e in listed_of(edges) if e[0] in place and e[1] in place]
    return EdgesOptions(pairs, itself=False, sensors=sensors, kind="edges")


def listed_of(edges: Edges) -> list[list[int]]:
    """Open edges as a configuration lists them, [to, from] or [to, from, sign]; raises for lags and log-weights."""
    if any(getattr(edges, name, None) is not None for name in ("lags", "log_weights", "classes")):
        raise InputError("neurons whose edges have lags, weights or classes are not taken out or put in")
    found, signs = [], None if edges.signs is None else edges.signs.tolist()
    for to, (row, is_open) in enumerate(zip(edges.sources.tolist(), edges.open.tolist())):
        for k, source in enumerate(row):
            if is_open[k]:
                found.append([to, source] if signs is None else [to, source, int(signs[to][k])])
    return found


def weighs(graph: Graph) -> bool:
    """Whether every edge has weights, which can be zero: then anybody can be heard without being heard yet."""
    router: Any = graph.round(0).router
    if router is None or router.edge_weights():
        return True
    maps = list(getattr(router, "hear", nn.Module()).modules())
    return any(isinstance(m, CommunalLinear) for m in maps)


def _of_more(graph: Graph, count: int, seed: int, heard: bool) -> Any:
    """The topology with so many neurons more."""
    own, there = graph.config.topology, graph.config.neurons
    sensors = list(getattr(own, "sensors", []))
    new, silent = range(there, there + count), not (heard or weighs(graph))
    if learned(graph.config):
        if silent:
            raise InputError(
                f"neurons cannot be put in: topology '{own.kind}' would let router '{graph.config.router.kind}' hear "
                "them from the start; use router dendrites, bus or mixing"
            )
        return replace(own, start=[]) if hasattr(own, "start") else own
    edges = graph.edges
    if edges is None and not silent:
        return own
    if edges is None:
        if there + count > LISTED:
            raise InputError(
                f"neurons cannot be put in: router '{graph.config.router.kind}' needs the edges listed, and "
                f"{there + count} neurons have too many; use router dendrites, bus or mixing"
            )
        pairs = [[i, j] for i in range(there) for j in range(there)]
        pairs += [[i, j] for i in new for j in range(there + count)]
        return EdgesOptions(pairs, itself=False, sensors=sensors, kind="edges")
    pairs, draw = listed_of(edges), random.Random(seed)
    signed = edges.signs is not None
    for i in new:
        others = sorted(draw.sample(range(there), min(there, max(1, edges.sources.shape[1] - 1))))
        both = [[i, i], *([i, j] for j in others), *([j, i] for j in others if not silent)]
        pairs += [[*e, 1] if signed else e for e in both]
    return EdgesOptions(pairs, itself=False, sensors=sensors, kind="edges")
