"""Models side by side as one model: what it is configured as, and what cannot be."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from inn.config.typed import typed
from inn.models.inn import INN
from inn.nn.graph import Graph
from inn.nn.topology.base import learned
from inn.nn.topology.options import EdgesOptions, GroupsOptions
from inn.registry import RECALLS, ROUTERS
from inn.surgery.joining import common, joined, separated, way_in
from inn.surgery.plans import LISTED, check_resizable, listed_of, recall_of, weighs
from inn.surgery.reading import check_plain, config_of, graph_of
from inn.surgery.whole import is_whole
from inn.system.errors import InputError
from inn.system.files import sha256_of

_JOINED = (
    "neurons", "population", "memory", "topology", "readout", "weights", "communal_states", "inner", "input", "recall",
    "tied", "embedding_width", "embedding_std", "identity_std",
)  # fmt: skip
"""Fields in which models that are merged may differ."""


@dataclass
class Joint:
    """How models are put together.

    Attributes:
        config: the new model's.
        separate: each neuron gets weights of its own first.
        whole: they are taken from one model, and read by one readout again.
        ids: the new model's.
    """

    config: Any
    separate: bool
    whole: bool
    ids: list[int]


@typed
def merge(a: Any, b: Any, *others: Any, across: bool = False) -> Any:
    """One model of several that read the same symbols: the populations stand side by side, and hear none of another.

    Each is read by itself (readout `parts`), and the model's logits are the mean of what they say: its probabilities
    are their normalised product. So is what models of signals tell (of quantiles, what the rises are made of).
    `inn.keep` of the neurons of one gives its logits again. Models that `inn.keep` took from one, and that were not
    trained since, come back under its readout: where it had no edges between them, the result is that model. Plain
    graphs give their outputs one after another, and take in theirs so where the input is split.

    Weights that are shared or communal become each neuron's own where the models differ in them. Neurons keep their
    ids; those that an earlier model has are given new ones, and a warning says so. `inn.surgery.states.beside` joins
    carried states.

    Args:
        a, b, others: models of one class (`INN`, `SignalGraph` or `Graph`), width and number of rounds; they stay as
            they are. Numbers of neurons, memories and readouts may differ.
        across: let there be edges from everyone to everyone, of weights that start at zero: training may open them.

    Raises `InputError` for models of other symbols, signals, widths or options, naming both values; for parts that
    cannot stand beside others; with `across` for a router that shares a sum among those that are heard.

    >>> from inn import INN, keep
    >>> a, b = (INN(vocab=9, neurons=n, width=4, rounds=1).eval() for n in (2, 3))
    >>> b.graph.ids += 2
    >>> both, tokens = merge(a, b), torch.arange(9)[None]
    >>> torch.allclose(both(tokens)[0], (a(tokens)[0] + b(tokens)[0]) / 2, atol=1e-5)
    True
    >>> torch.allclose(keep(both, neurons=[0, 1])(tokens)[0], a(tokens)[0], atol=1e-5)
    True
    """
    models = [a, b, *others]
    plan = planned(models, across)
    return put_together(models, plan)


def put_together(models: Sequence[Any], plan: Joint) -> Any:
    """The new model of a plan; warns where neurons get other ids."""
    parts = [separated(m) if plan.separate else m for m in models]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        new = joined(models, parts, plan.config, plan.ids, plan.whole)
    if moved := [(i, n) for i, n in zip(_ids(models), plan.ids) if i != n]:
        old, now = ([pair[k] for pair in moved] for k in (0, 1))
        warnings.warn(f"neurons of several models had the same ids: {old} of later ones are {now} now", stacklevel=4)
    return new


def planned(models: Sequence[Any], across: bool = False) -> Joint:
    """How models are put together; raises `InputError` where they cannot be."""
    given = [check_plain(m).weights for m in models]
    models = [separated(m) if m.config.weights == "communal" and m.config.into_memory else m for m in models]
    configs = [m.config for m in models]
    _check(models, configs)
    whole, c = is_whole(models), configs[0]
    if len({one.weights for one in configs}) > 1:
        models = [separated(m) for m in models]
    config = _config(models, across, whole)
    differs = common(models, config)
    if differs and models[0].config.weights != "separate":
        models = [separated(m) for m in models]
        config = _config(models, across, whole)
        differs = common(models, config)
    if differs:
        raise InputError(f"models cannot be merged: '{differs}' is of no neuron, and not the same in all of them")
    if across and not all(weighs(graph_of(m)) for m in models):
        raise InputError(
            f"there can be no edges across: router '{c.router.kind}' shares a sum among those that are heard; use "
            "router dendrites, bus or mixing, or leave across out"
        )
    return Joint(config, {*given} != {config.weights}, whole, _free(_ids(models)))


def _ids(models: Sequence[Any]) -> list[int]:
    return [i for m in models for i in graph_of(m).ids.tolist()]


def _free(ids: list[int]) -> list[int]:
    """Ids, those that were there before replaced by new ones."""
    seen, following, found = set(), max(ids) + 1, []
    for one in ids:
        if one in seen:
            one, following = following, following + 1
        seen.add(one)
        found.append(one)
    return found


def _check(models: Sequence[Any], configs: Sequence[Any]) -> None:
    a, c = models[0], configs[0]
    for other, d in zip(models[1:], configs[1:]):
        if type(other) is not type(a):
            raise InputError(
                f"models of different kinds cannot be merged: {type(a).__name__} and {type(other).__name__}"
            )
        names: list[Any] = [m.vocabulary for m in (a, other) if getattr(m, "vocabulary", None) is not None]
        if len(names) == 2 and names[0] != names[1]:
            sums = [sha256_of([n.to_json().encode()])[:8] for n in names]
            raise InputError(
                f"models cannot be merged: one reads {names[0]} and the other {names[1]} (sha256 {' and '.join(sums)})"
            )
        for f in fields(c):
            one, two = getattr(c, f.name), getattr(d, f.name)
            if f.name not in _JOINED and one != two:
                raise InputError(
                    f"models cannot be merged: {f.name} is {_said(one)} in one and {_said(two)} in the other"
                )
        _check_recall(getattr(c, "recall", None), getattr(d, "recall", None))
        if replace(c.inner, **_no_families(c)) != replace(d.inner, **_no_families(d)):
            raise InputError(f"models cannot be merged: inner is {c.inner} in one and {d.inner} in the other")
        if isinstance(a, Graph) and c.input != d.input:
            raise InputError(f"graphs cannot be merged: input is '{c.input}' in one and '{d.input}' in the other")
        for what in ("dtype", "device"):
            one, two = (getattr(next(m.parameters()), what) for m in (a, other))
            if one != two:
                raise InputError(f"models cannot be merged: their {what}s are {one} and {two}; convert one of them")
        for name in ("input_mean", "input_scale", "target_mean", "target_scale"):
            if hasattr(a, name) and not torch.equal(getattr(a, name), getattr(other, name)):
                one, two = (getattr(m, name).tolist() for m in (a, other))
                raise InputError(
                    f"models cannot be merged: their signals are standardised by other numbers, {name} {one} and {two}"
                )
    for m, d in zip(models, configs):
        graph = graph_of(m)
        check_resizable(d, graph, "merged with others")
        if learned(d):
            raise InputError(f"neurons cannot be merged with others: topology '{d.topology.kind}' learns its edges")


def _check_recall(one: Any, two: Any) -> None:
    if one is None or RECALLS.empty(one.kind) or RECALLS.empty(two.kind):
        return
    if one.kind != two.kind:
        raise InputError(f"models cannot be merged: recall is '{one.kind}' in one and '{two.kind}' in the other")
    for f in fields(one):
        a, b = getattr(one, f.name), getattr(two, f.name)
        if a != b and f.name not in RECALLS[one.kind].joined:
            raise InputError(f"models cannot be merged: recall.{f.name} is {a} in one and {b} in the other")


def _said(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _no_families(c: Any) -> dict[str, Any]:
    return {"families": ["rbf"], "each": False} if getattr(c.inner, "each", False) else {}


def _config(models: Sequence[Any], across: bool, whole: bool) -> Any:
    configs = [config_of(m) for m in models]
    c, starts = configs[0], [sum(d.neurons for d in configs[:i]) for i in range(len(configs))]
    groups: list[dict[str, Any]] = []
    for d in configs:
        for own in d.population or [{"neurons": d.neurons, "memory": d.memory}]:
            if groups and groups[-1]["memory"] == own["memory"]:
                groups[-1]["neurons"] += own["neurons"]
            else:
                groups.append(dict(own))
    made: dict[str, Any] = {
        "neurons": sum(d.neurons for d in configs),
        "population": groups if len(groups) > 1 else [],
        "memory": groups[0]["memory"],
        "topology": _topology(models, starts, across),
        "readout": _readout(configs, starts, whole),
        "weights": c.weights,
    }
    if getattr(c.inner, "each", False):
        made["inner"] = replace(c.inner, families=[f for d in configs for f in d.inner.families])
    if isinstance(models[0], INN):
        whose = [(d.recall, d.neurons, n) for d in configs for n in range(d.neurons)]
        made["recall"] = recall_of(next((o for o, _, _ in whose if not RECALLS.empty(o.kind)), c.recall), whose)
    return (
        way_in(models, replace(c, **_together(made, c)), whole)
        if not isinstance(models[0], Graph)
        else replace(c, **made)
    )


def _together(made: dict[str, Any], c: Any) -> dict[str, Any]:
    """The fields with a way in that any number of neurons has; `way_in` settles it."""
    return {
        **made,
        **({"input": "split"} if c.input == "split" else {}),
        **({"tied": False} if hasattr(c, "tied") else {}),
    }


def _readout(configs: Sequence[Any], starts: Sequence[int], whole: bool) -> Any:
    """One readout for all, or a part for each that any of them has."""
    c, read = configs[0], [first + n for d, first in zip(configs, starts) for n in d.read]
    listed = read if any(d.readout.read for d in configs) else []
    if whole:
        gains = any(getattr(d.readout, "gains", False) for d in configs)
        return replace(c.readout, read=listed, silent=0.0, gains=gains)
    parts = [{"neurons": len(r.read), "readout": replace(r.readout, read=[])} for d in configs for r in d.readouts]
    return {"kind": "parts", "read": listed, "parts": parts}


def _topology(models: Sequence[Any], starts: Sequence[int], across: bool) -> Any:
    """Everyone hears whom it heard; with `across` all others beside."""
    graphs = [graph_of(m) for m in models]
    configs = [g.config for g in graphs]
    c, number = configs[0], sum(d.neurons for d in configs)
    roles = [first + n for d, first in zip(configs, starts) for n in d.sensors]
    sensors = roles if any(getattr(d.topology, "sensors", None) for d in configs) else []
    if ROUTERS.empty(c.router.kind):
        return replace(c.topology, sensors=sensors) if sensors else c.topology
    complete = all(g.edges is None for g in graphs)
    if complete and across:
        return replace(c.topology, sensors=sensors)
    even = [-(-g * number // len(graphs)) for g in range(len(graphs))]
    if complete and [*starts] == even:
        return GroupsOptions(groups=len(graphs), between=0, sensors=sensors, kind="groups")
    pairs: list[list[int]] = []
    for g, first in zip(graphs, starts):
        n = g.config.neurons
        own = [[i, j] for i in range(n) for j in range(n)] if g.edges is None else listed_of(g.edges)
        pairs += [[e[0] + first, e[1] + first, *e[2:]] for e in own]
        if across:
            pairs += [[first + i, j] for i in range(n) for j in range(number) if not first <= j < first + n]
    if len(pairs) > LISTED**2:
        raise InputError(
            f"models cannot be merged: they have {len(pairs):,} edges, and at most {LISTED**2:,} are listed"
        )
    signed = any(len(e) > 2 for e in pairs)
    pairs = [[*e, 1] if signed and len(e) == 2 else e for e in pairs]
    return EdgesOptions(pairs, itself=False, sensors=sensors, kind="edges")
