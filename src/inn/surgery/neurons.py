"""Neurons or rounds taken out of a model, and neurons put into it, exactly; and a mixture made narrow before that."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from inn.config.graph import NEURONS, GraphConfig
from inn.config.typed import typed
from inn.models.build import check_size
from inn.nn.routing.mixture import Mixture, mixtures_of
from inn.surgery.plans import chosen, fewer, fewer_rounds, more
from inn.surgery.reading import Places, check_plain
from inn.surgery.rebuild import rebuilt, sources, ways_back
from inn.surgery.states import alike
from inn.system.errors import InputError

GAINS = ("norm.gain", "backbone.readout.gain", "readout.gain")
"""The parameters that say what a neuron counts in the readout."""
Model = TypeVar("Model", bound=nn.Module)


def concentrate(model: Model, weight: float = 0.2) -> Model:
    """A copy whose mixtures (router `mixture`) are trained to ask few neurons: they add `weight` times H(e), in nats.

    Train it for a short while on what it is to be good at, then `keep` the neurons that are asked
    (`tape.mean("routing")`). With a weight of 0 the copy adds nothing.

    Raises `InputError` for a model without such a router.
    """
    new = copy.deepcopy(model)
    for router in mixtures_of(new):
        router.concentrate(weight)
    for module in new.modules():
        if isinstance(config := getattr(module, "config", None), GraphConfig) and config.router.kind == "mixture":
            config.router = replace(config.router, loss="concentrate", loss_weight=weight)
    return new


@typed
def keep(model: Any, neurons: Sequence[int] | None = None, rounds: Sequence[int] | None = None) -> Any:
    """A smaller model of these neurons, or of these rounds: what the whole one computes with the others silenced.

    The neurons that go say nothing to anyone, and the readout has zeros in their place (`inn.analysis` calls that
    `silenced`): its mean, its attention and the norm behind it go on counting them (option `silent` of the readout).
    The rounds that go leave the neurons as they came. Neurons keep their numbers' order, and their `ids`. Edges that a
    topology listed become topology `edges`. A tied head whose rows are no longer the embedding's becomes a head of its
    own.

    Args:
        model: an `INN`, a `SignalGraph` or a `Graph`, [B, T] or [B, T, F] as ever; it is left as it is, and so is its
            mode of training. Weights are copies.
        neurons: numbers from 0, those to keep; None: all. A carried state goes along by `inn.surgery.states.carried`.
        rounds: the same of rounds.

    Raises `InputError` for neurons and rounds that are not there, for none, and for parts that cannot be taken apart.

    >>> from inn import Graph
    >>> keep(Graph(neurons=4, width=8), neurons=[0, 2]).ids
    tensor([0, 2])
    """
    config = check_plain(model)
    if neurons is None and rounds is None:
        raise InputError("keep needs the neurons to keep, or the rounds; give neurons=[0, 1] or rounds=[0]")
    new = model
    with torch.random.fork_rng(devices=[]):
        if rounds is not None:
            kept = chosen("round", rounds, config.rounds)
            new = alike(model, fewer_rounds(model, kept), kept)
        if neurons is not None:
            new = rebuilt(new, fewer(new, chosen("neuron", neurons, config.neurons)))
    return new


@typed
def grow(model: Any, neurons: int = 1, memory: Any = None, seed: int = 0, freeze: bool = False) -> Any:
    """A larger model that computes the same: so many new neurons behind the old ones, which nobody hears yet.

    New neurons hear, remember and learn from the first step on, and count with a gain of 0 in the readout (its option
    `gains`), which training moves. Where edges have weights (dendrites, bus, mixing), those from a new neuron to an old
    one start at zero. Other routers share a sum among those that are heard: there the old neurons do not hear the new
    ones (the topology becomes `edges`), which speak by the readout. Along listed edges a new neuron hears as many as
    the others do, drawn at random. Each recalls by contexts of its kind that no neuron has yet, where there are such.

    Args:
        model: as `keep` takes it.
        neurons: how many to add.
        memory: of the new neurons: a kind, or its options; None: that of the last neuron. Another than that makes the
            population mixed.
        seed: what the new weights are drawn from.
        freeze: train the new neurons and the choice of a router `mixture` only: all else gets no gradient (give the
            optimiser no weight decay, which would not know). This holds for the object returned, not for what is saved.

    Raises `InputError` for fewer than one neuron, and for parts that cannot be added to without another result.

    >>> from inn import INN
    >>> model, tokens = INN(vocab=9, neurons=2, width=4, rounds=1).eval(), torch.arange(9)[None]
    >>> large = grow(model, neurons=1, memory="gru")
    >>> large.config.neurons, torch.allclose(large(tokens)[0], model(tokens)[0], atol=1e-6)
    (3, True)
    """
    if neurons < 1:
        raise InputError(f"neurons to add must be at least 1, not {neurons}")
    if check_plain(model).neurons + neurons > NEURONS:
        raise InputError(f"a graph has at most {NEURONS:,} neurons, and {neurons:,} more are too many; add fewer")
    if not 0 <= seed < 1 << 63:
        raise InputError(f"seed must be from 0 to 2^63 - 1, not {seed}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        plan = more(model, neurons, memory, seed)
        if type(plan.config) is not GraphConfig:
            check_size(plan.config)
        new = rebuilt(model, plan)
    if freeze:
        freeze_old(model, new, plan.neurons)
    return new


def freeze_old(old: Any, new: Any, places: Places, unheard: bool = False) -> None:
    """Let what the old neurons have no gradient: all but parameters, rows and columns that are new.

    `unheard`: nor what they hear of the new ones, and the choice of a mixture; so they stay what they were.
    """
    if unheard:
        for p, ways in ways_back(new, [i for i, place in enumerate(places) if place is None]):
            p.register_hook(lambda gradient, ways=ways: gradient * ways)
    choice = {id(p) for m in new.modules() if isinstance(m, Mixture) for p in (m.addresses, *m.ask.parameters())}
    choice = set() if unheard else choice
    first = dict(old.named_parameters())
    for name, p in new.named_parameters():
        if id(p) in choice or not (found := sources(name, first, old, new, places)):
            continue
        if found[0][0] in first:
            was = first[found[0][0]].shape
        elif name in GAINS:  # the old ones had none, which is 1 for each
            was = torch.Size([len(old.config.read)])
        else:
            continue
        if p.shape == was:
            p.requires_grad_(False)
            continue
        free = torch.ones_like(p)
        free[tuple(slice(0, n) for n in was)] = 0
        if name in ("head.weight", "bridge.weight") and old.config.normed_width > old.config.readout_width:
            free[:, [was[1] - 1, -1]] = torch.tensor([1.0, 0.0]).to(free)  # the last one stays the last one
        p.register_hook(lambda gradient, free=free: gradient * free)
