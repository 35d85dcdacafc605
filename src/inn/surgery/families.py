"""One family of basis functions for each neuron whose inner map is a sum of several (`inner: kan`)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from inn.config.graph import GraphConfig
from inn.nn.inner.kan import Kan
from inn.system.errors import InputError

Model = TypeVar("Model", bound=nn.Module)


def prune_families(model: Model, families: Sequence[str]) -> Model:
    """A copy of a model whose inner maps have one family: one for all neurons, or one for each, in all rounds.

    What the functions of the families that stay were, they still are; what the others added is missing until it is
    trained again.

    Args:
        model: an `INN`, a `Graph`, a module of yours with one inside, or a `Kan` alone; it is left as it is.
        families: one name, or N.

    Raises `InputError` for a model without such a map, and for families that it has not.

    >>> from inn import Graph
    >>> small = prune_families(Graph(neurons=2, width=4, rounds=1, inner="kan"), ["rbf", "hinge"])
    >>> small.config.inner.families, small.config.inner.each
    (['rbf', 'hinge'], True)
    """
    _maps(model)
    small = copy.deepcopy(model)
    if isinstance(small, Kan):
        return small.pruned(families)  # type: ignore[return-value]
    new = {path: m.pruned(families) for path, m in small.named_modules() if isinstance(m, Kan)}
    for path, kan in new.items():
        parent, _, name = path.rpartition(".")
        setattr(small.get_submodule(parent), name, kan)
    options = next(iter(new.values())).config.inner
    for module in small.modules():
        config = getattr(module, "config", None)
        if isinstance(config, GraphConfig) and config.inner.kind == options.kind:
            config.inner = options
    return small


def select_families(
    model: Model, refit: Callable[[Model], object], error: Callable[[Model], Tensor | float]
) -> tuple[Model, dict[str, Tensor]]:
    """Choose a family for each neuron by what it costs to do without the others, and prune the inner maps to it.

    For every family a copy is pruned to it, refitted for a short while, and measured on held-out data: families
    imitate one another, so that their weights in the sum do not tell which one is right.

    Args:
        model: as `prune_families` takes it, trained with all families.
        refit: trains a copy, in place.
        error: of a copy on data that `refit` does not see: one number, for which all neurons get the same family, or
            `[N]` where every neuron has a target of its own.

    Returns the pruned and refitted model, and the errors that it was chosen by, by family.

    Raises `InputError` as `prune_families` does, and for errors that are neither one nor N, or not finite.

    >>> from inn import Graph
    >>> graph, x = Graph(neurons=2, width=4, rounds=1, inner="kan"), torch.randn(1, 20, 8)
    >>> small, errors = select_families(graph, lambda copy: None, lambda copy: copy(x)[0].square().mean())
    >>> len(errors), len(small.config.inner.families)
    (6, 1)
    """
    first = _maps(model)[0].config
    found: dict[str, Tensor] = {}
    for name in dict.fromkeys(first.inner.families):
        candidate = prune_families(model, [name])
        refit(candidate)
        found[name] = torch.as_tensor(error(candidate)).detach().cpu()
    table = torch.stack(list(found.values()))
    if table.ndim > 1 and table.shape[1:] != (first.neurons,):
        raise InputError(f"error must give one number, or {first.neurons}, one per neuron, not {list(table.shape[1:])}")
    if not bool(table.isfinite().any(0).all()):
        raise InputError("the errors of all families are not finite; is the refit too fast?")
    names = list(found)
    best = [names[i] for i in table.nan_to_num(nan=torch.inf, posinf=torch.inf).argmin(0).reshape(-1).tolist()]
    small = prune_families(model, best)
    refit(small)
    return small, found


def _maps(model: nn.Module) -> list[Kan]:
    found = [m for m in model.modules() if isinstance(m, Kan)]
    if not found or any(m.config.inner.each for m in found):
        why = "its neurons have one family each already" if found else "it has no inner map 'kan'"
        raise InputError(f"this {type(model).__name__} has no families to choose among: {why}")
    return found
