"""Neurons taken out of a model, and put into it; and the choices of a mixture made narrow before that."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from inn.config.graph import GraphConfig
from inn.config.typed import typed
from inn.nn.routing.mixture import Mixture
from inn.nn.topology.roles import check_alike
from inn.system.errors import InputError

Model = TypeVar("Model", bound=nn.Module)


def concentrate(model: Model, weight: float = 0.2) -> Model:
    """A copy whose mixtures (router `mixture`) are trained to ask few neurons: they add `weight` times H(e), in nats.

    Train it for a short while on what it is to be good at, then `prune` the neurons that are hardly asked
    (`tape.mean("routing")`). With a weight of 0 the copy adds nothing.

    Raises `InputError` for a model without such a router.
    """
    new = copy.deepcopy(model)
    if not (routers := [m for m in new.modules() if isinstance(m, Mixture)]):
        raise InputError(f"this {type(model).__name__} has no router 'mixture', whose choices could be concentrated")
    for router in routers:
        router.loss, router.loss_weight = "concentrate", weight
    for module in new.modules():
        if isinstance(config := getattr(module, "config", None), GraphConfig) and config.router.kind == "mixture":
            config.router = replace(config.router, loss="concentrate", loss_weight=weight)
    return new


@typed
def prune(model: Model, neurons: Sequence[int]) -> Model:
    """A new model without these neurons, the others as they were, with their ids.

    Nobody hears the removed ones any more, and the readout has only the others: a mean is over these. A router
    `mixture` shares its probabilities among those that are left, and asks them all where they are fewer than `top`.

    Args:
        model: an `INN`, a `SignalGraph` or a `Graph` on the complete graph, with one kind of memory; it is left as it
            is, and so is its mode of training.
        neurons: numbers from 0, those to remove. A carried state loses them by `state.select_neurons`.

    Raises `InputError` for neurons that are not there, for all of them, and for a model of another form.

    >>> from inn import Graph
    >>> prune(Graph(neurons=4, width=8, router="mixture"), [1, 3]).ids
    tensor([0, 2])
    """
    there = _config(model).neurons
    removed = set(neurons)
    if bad := sorted(n for n in removed if not 0 <= n < there):
        raise InputError(f"there is no neuron {bad[0]} to remove; there are neurons 0 to {there - 1}")
    if len(removed) == there:
        raise InputError("not all neurons can be removed; leave one")
    return _rebuilt(model, [n for n in range(there) if n not in removed])


@typed
def extend(model: Model, neurons: int, freeze: bool = True) -> Model:
    """A new model with so many neurons more, drawn as new ones are, behind the old ones, which are as they were.

    Args:
        model: as `prune` takes it.
        neurons: how many to add.
        freeze: train the new neurons and the choice of a router `mixture` only: all else gets no gradient (give the
            optimiser no weight decay, which would not know). This holds for the object returned, not for what is saved.

    Raises `InputError` as `prune` does.

    >>> from inn import Graph
    >>> extend(Graph(neurons=4, width=8, router="mixture"), 2).ids
    tensor([0, 1, 2, 3, 4, 5])
    """
    if neurons < 1:
        raise InputError(f"neurons to add must be at least 1, not {neurons}")
    places: list[int | None] = [*range(_config(model).neurons), *[None] * neurons]
    new = _rebuilt(model, places)
    if freeze:
        _freeze(model, new, len(places), len(places) - neurons)
    return new


def _config(model: nn.Module) -> Any:
    config = getattr(model, "config", None)
    if not isinstance(config, GraphConfig):
        raise InputError(f"neurons are those of an INN, a SignalGraph or a Graph, not of a {type(model).__name__}")
    if config.population:
        raise InputError("neurons of a mixed population are not taken out or added; give `present` where some are away")
    check_alike(config, "neurons cannot be taken out or put in")
    if config.topology.kind != "complete":
        raise InputError(
            f"topology '{config.topology.kind}' says who hears whom, and changes with the number of neurons; "
            "close edges by inn.analysis.cut, or give `present`"
        )
    return config


def _rebuilt(model: Model, places: list[int | None]) -> Model:
    """A model like this one whose neuron n is the old one's `places[n]`, or a new one."""
    old, n = _config(model), len(places)
    fields: dict[str, Any] = {"neurons": n}
    if lengths := getattr(old, "recall", None):  # each neuron goes on with its own contexts
        each = -(-len(lengths) // old.neurons)
        kept = [i if place is None else place for i, place in enumerate(places)]
        fields["recall"] = [lengths[(i + j * old.neurons) % len(lengths)] for j in range(each) for i in kept]
    if getattr(old.router, "top", 0) > n:
        fields["router"] = replace(old.router, top=n, sampled=min(old.router.sampled, n))
    like = next(model.parameters())
    new = type(model)(replace(old, **fields)).to(like.device, like.dtype)
    known, tensors = model.state_dict(), new.state_dict()
    for name, t in tensors.items():
        tensors[name] = _carried(known[name], t, places, old.neurons, name)
    new.load_state_dict(tensors)
    if n > old.neurons:  # ids that no neuron has had
        ids = next(t for name, t in new.named_buffers() if name.split(".")[-1] == "ids")
        ids[old.neurons :] = ids[: old.neurons].max() + torch.arange(1, n - old.neurons + 1)
    if hasattr(model, "vocabulary"):
        new.vocabulary = model.vocabulary
    return new.train(model.training)


def _carried(old: Tensor, new: Tensor, places: list[int | None], neurons: int, name: str) -> Tensor:
    """A tensor of the old model in the form of the new one: along every axis that is of neurons, neuron by neuron."""
    from_old = torch.tensor([p for p in places if p is not None], device=old.device)
    to_new = torch.tensor([i for i, p in enumerate(places) if p is not None], device=old.device)
    result = new.clone()
    target, source = [], []
    for axis, (a, b) in enumerate(zip(old.shape, new.shape, strict=True)):
        if a == b:
            rows = cols = torch.arange(a, device=old.device)
        elif a % neurons == 0 and a // neurons * len(places) == b:
            block = torch.arange(m := a // neurons, device=old.device)
            rows, cols = ((n[:, None] * m + block).flatten() for n in (from_old, to_new))
        else:
            raise InputError(f"axis {axis} of '{name}' is {a} with {neurons} neurons and {b} with {len(places)}")
        source.append(rows)
        target.append(cols)
    if not source:
        return old.clone()
    result[torch.meshgrid(*target, indexing="ij")] = old[torch.meshgrid(*source, indexing="ij")].to(result.dtype)
    return result


def _freeze(old: nn.Module, new: nn.Module, neurons: int, before: int) -> None:
    gates = {id(p) for m in new.modules() if isinstance(m, Mixture) for p in (m.addresses, *m.ask.parameters())}
    first = dict(old.named_parameters())
    for name, p in new.named_parameters():
        if id(p) in gates:
            continue
        if p.shape == first[name].shape:
            p.requires_grad_(False)
            continue
        free = torch.zeros_like(p)
        for axis, (a, b) in enumerate(zip(first[name].shape, p.shape)):
            if a != b:
                free.narrow(axis, b // neurons * before, b - b // neurons * before).fill_(1)
        p.register_hook(lambda gradient, free=free: gradient * free)
