"""The tensors of a model in the form of another that has some of its neurons, and perhaps others beside them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from inn.nn.graph import Graph
from inn.nn.population import CommunalLinear, NeuronLinear, NeuronNorm
from inn.nn.routing.dendrites import Dendrites
from inn.surgery.ends import carry_ends, readers_of
from inn.surgery.plans import Plan, along, starts
from inn.surgery.reading import Places, graph_of, origins, read_parts
from inn.surgery.states import alike
from inn.system.errors import InputError

OF_GROUP = re.compile(r"(.*?rounds\.\d+\.(?:memory|router\.(?:hear|own)))(?:\.groups)?(?:\.(\d+))?\.(.*)")
RECALLED = ("recall.", "votes.")
"""How the names begin of what is of neurons but not of the graph: of what they recall, and vote."""
_MADE = re.compile(r"ids|sensors|edge_.*|readout\.(parts\.\d+\.)?(places|gain)")
"""What a graph makes of its configuration, or the ends of the model carry."""


@torch.no_grad()
def rebuilt(model: Any, plan: Plan) -> Any:
    """A new model of the plan's configuration, whose neurons are those of the old one where they have a place there.

    What is of new neurons is what a new model draws; what old neurons hear of them is zero where edges have weights.
    """
    like = next(model.parameters())
    new = type(model)(plan.config).to(like.device, like.dtype)
    _wake(graph_of(new))
    prefix = "" if isinstance(model, Graph) else "backbone."
    known, tensors = _renamed(model, new, plan, prefix), new.state_dict()
    edges = {id(p) for r in graph_of(new).rounds for p, _ in edge_weights(r)}
    skipped = {name for name, p in new.named_parameters() if id(p) in edges}
    skipped |= {f"{name}.{part}" for name in readers_of(new) for part in ("weight", "bias")}
    for name, t in tensors.items():
        own = name.removeprefix(prefix) if name.startswith(prefix) else None
        if name in skipped or (own is None and not name.startswith(RECALLED)) or _MADE.fullmatch(own or ""):
            continue
        carry(known, name, t, model, new, plan.neurons)
    carry_edges(graph_of(model), graph_of(new), plan.neurons)
    _carry_ids(graph_of(model), graph_of(new), plan.neurons)
    carry_ends(model, new, plan)
    return alike(model, new)


def _renamed(old: Any, new: Any, plan: Plan, prefix: str) -> dict[str, Tensor]:
    """The old model's tensors, those of parts that are read by themselves by the names that the parts have now."""
    known = dict(old.state_dict())
    parts = [(was, now) for was, now, _ in origins(read_parts(old), plan.read, read_parts(new))]
    names = [(n, p) for n in [*known] if n.startswith(f"{prefix}readout.parts.") for p in [known.pop(n)]]
    several = hasattr(graph_of(new).config.readout, "parts")
    for was, now in parts:
        own = f"{prefix}readout.parts.{was.number}."
        into = f"{prefix}readout.parts.{now.number}." if several else f"{prefix}readout."
        known |= {into + n.removeprefix(own): t for n, t in names if n.startswith(own)}
    return known


def _wake(graph: Graph) -> None:
    """Start maps that a new model starts at zero anywhere: behind a gain of zero nothing would ever reach them."""
    for module in graph.modules():
        if isinstance(module, NeuronLinear) and not module.bound:
            bound = module.weight.shape[2] ** -0.5
            module.weight.uniform_(-bound, bound)
        elif isinstance(module, NeuronNorm) and not module.gain and module.weight is not None:
            module.weight.fill_(1.0)
    for row in (row for r in graph.rounds for p, view in edge_weights(r) for row in view(p)):
        if row.ndim > 1 and not bool(row.any()):
            bound = (row.numel() // row.shape[1]) ** -0.5
            row.uniform_(-bound, bound)


def sources(name: str, known: Container[str], old: Any, new: Any, places: Places) -> list[tuple[str, Places, int]]:
    """Which tensors of the old model have what the new one calls so: each by name, with the places of the neurons in it
    and how many neurons it is of. Memories, and maps that lead to memories of different sizes, are of a group each.

    Empty where it is of new neurons only.
    """
    was, now = graph_of(old).config, graph_of(new).config
    if (found := OF_GROUP.fullmatch(name)) is None:
        return [(name, places, was.neurons)]
    stem, group, rest = found.groups()
    own = places if group is None else places[slice(*starts(now)[int(group) : int(group) + 2])]
    middle = ".groups" if stem.endswith(".memory") else ""
    plain, begins = f"{stem}.{rest}", starts(was)
    if plain in known and any(p is not None for p in own):
        return [(plain, own, was.neurons)]
    result = []
    for g, (first, end) in enumerate(pairwise(begins)):
        inside = [None if p is None or not first <= p < end else p - first for p in own]
        if any(p is not None for p in inside):
            result.append((f"{stem}{middle}.{g}.{rest}", inside, end - first))
    return result


def carry(known: dict[str, Tensor], name: str, t: Tensor, old: Any, new: Any, places: Places) -> None:
    """Copy what the old neurons have of a tensor into the new model's, along every axis that is of neurons."""
    found = sources(name, known, old, new, places)
    every, all_old = len(places), graph_of(old).config.neurons
    for there, own, number in found:
        if there not in known or (len(found) > 1 and t.shape[:1] != (len(own),)):
            raise InputError(f"'{name}' of the new model is in no single place of the old one")
        source = known[there]
        to, of = [], []
        for axis, (a, b) in enumerate(zip(source.shape, t.shape, strict=True)):
            pick, was, now = (own, number, len(own)) if axis == 0 else (places, all_old, every)
            if a % was == 0 and a // was * now == b and (a != b or (axis == 0 and a == was)):
                into, out_of = along(pick, a // was, t.device)
            elif a == b:
                into = out_of = torch.arange(a, device=t.device)
            else:
                raise InputError(f"axis {axis} of '{name}' is {a} with {was} neurons and {b} with {now}")
            to.append(into)
            of.append(out_of)
        if to:
            t[torch.meshgrid(*to, indexing="ij")] = source[torch.meshgrid(*of, indexing="ij")].to(t.dtype)
        else:
            t.copy_(source)


def edge_weights(module: Any) -> list[Any]:
    return [] if module.router is None else module.router.edge_weights()


def carry_edges(old: Graph, new: Graph, places: Places) -> None:
    """Weights of edges, edge by edge: zero where an old neuron hears a new one, or where there is no edge."""
    was, now = (sources_of(graph) for graph in (old, new))
    for before, after in zip(old.rounds, new.rounds):
        rows_old, rows_new = ([row for p, view in edge_weights(r) for row in view(p)] for r in (before, after))
        for i, p in enumerate(places if rows_new else []):
            if p is None:
                continue
            slots = {source: k for k, source in enumerate(was[p]) if source is not None}
            for k, source in enumerate(now[i]):
                there = None if source is None else slots.get(places[source])  # type: ignore[arg-type]
                if there is None:
                    rows_new[i][k].zero_()
                else:
                    rows_new[i][k].copy_(rows_old[p][there])
        router: Any = after.router
        if isinstance(router, Dendrites) and not rows_new and not router.sparse:
            _silence(router, [i for i, p in enumerate(places) if p is None])


def _silence(router: Dendrites, neurons: list[int]) -> None:
    """Let nobody hear new neurons through communal weights, whose states are the same for all who read."""
    for m in router.hear.modules():
        if isinstance(m, CommunalLinear) and neurons:
            m.read.weight.unflatten(2, (router.neurons, -1))[:, :, neurons] = 0.0


def ways_back(model: Any, new: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """The weights over which old neurons hear new ones: each with 0 where they do, and 1 elsewhere."""
    graph = graph_of(model)
    heard = sources_of(graph)
    for module in graph.rounds:
        for p, view in edge_weights(module):
            ways = torch.ones_like(p)
            for i, row in enumerate(view(ways)):
                for k, source in enumerate(heard[i]):
                    if i not in new and source in new:
                        row[k].zero_()
            yield p, ways
        if isinstance(router := module.router, Dendrites) and not edge_weights(module) and not router.sparse:
            for m in router.hear.modules():
                if isinstance(m, CommunalLinear):
                    ways = torch.ones_like(m.read.weight)
                    ways.unflatten(2, (router.neurons, -1))[:, :, new] = 0.0
                    yield m.read.weight, ways


def sources_of(graph: Graph) -> list[list[int | None]]:
    """The neuron that each slot of each neuron hears; None where the slot is closed for good."""
    edges, number = graph.edges, graph.config.neurons
    if edges is None or graph.wiring is not None:
        return [[*range(number)] for _ in range(number)]
    rows = zip(edges.sources.tolist(), edges.open.tolist())
    return [[s if is_open else None for s, is_open in zip(*row)] for row in rows]


def _carry_ids(old: Graph, new: Graph, places: Places) -> None:
    known = [None if p is None else int(old.ids[p]) for p in places]
    following = int(old.ids.max()) + 1  # ids that no neuron has
    for i, one in enumerate(known):
        new.ids[i] = following if one is None else one
        following += one is None
