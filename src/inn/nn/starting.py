"""Where a module's numbers start, which of them weight decay leaves alone, which are matrices: each says of its own."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def reset_parameters(module: nn.Module) -> None:
    """Let every module inside `module` start anew, as a new one starts (each by its `reset_parameters`)."""
    for inner in module.modules():
        if inner is not module and callable(reset := getattr(inner, "reset_parameters", None)):
            reset()


def no_decay(model: nn.Module) -> set[str]:
    """The names of a model's parameters that weight decay leaves alone, every name of a tied one.

    Those of fewer than two axes, and those that their module lists in its attribute `no_decay`: a bias or a gain of a
    population with separate weights has two axes as well, and so have identities and time constants. A weight that is
    parametrised or pruned is known by what it is made of.

    >>> from inn.nn.population import NeuronLinear
    >>> sorted(no_decay(nn.Sequential(NeuronLinear(2, 3, 4, bias=True), nn.Linear(3, 4))))
    ['0.bias', '1.bias']
    """
    exempt = {id(p) for m in model.modules() for name in getattr(m, "no_decay", ()) for p in _made_of(m, name)}
    named = model.named_parameters(remove_duplicate=False)
    return {name for name, p in named if p.ndim < 2 or id(p) in exempt}


def matrices(model: nn.Module) -> dict[nn.Parameter, tuple[int, int, int]]:
    """The weights inside a model's rounds (of a transformer its layers) that are matrices: its rows O, how many stand
    side by side K, the columns I of each, where the weight is `[..., O, K x I]`.

    Those of linear layers, those that a module lists in its attribute `matrix_weights`, and those of a router's edges,
    a matrix for each. What leads in and out (embedding, recall, bridge, head) is not inside.

    >>> from inn import INN
    >>> model = INN(vocab=27, neurons=3, width=8, rounds=1)
    >>> {name.rpartition("memory.")[2]: matrices(model).get(p) for name, p in model.named_parameters() if p.ndim > 2}
    ... # doctest: +ELLIPSIS
    {'recall.gain': None, ..., 'out_proj.weight': (8, 1, 16), 'backbone.rounds.0.router.hear.weight': (32, 3, 8)}
    """
    stacks = (getattr(m, name, None) for m in model.modules() for name in ("rounds", "layers"))
    found: dict[nn.Parameter, tuple[int, int, int]] = {}
    edges = []
    for module in (m for stack in stacks if isinstance(stack, nn.ModuleList) for m in stack.modules()):
        names = (*getattr(module, "matrix_weights", ()), *(("weight",) if isinstance(module, nn.Linear) else ()))
        for p in (module._parameters.get(name) for name in names):
            if p is not None:
                found[p] = (p.shape[-2], 1, p.shape[-1])
        edges += getattr(module, "edge_weights", list)()
    for p, view in edges:
        if (one := view(p)).ndim == 4:  # [N, K, O, I]; where an edge is a number, there is no matrix
            _, k, o, i = one.shape
            beside = one.stride() == (o * k * i, i, k * i, 1)
            found[p] = (o, k if beside else 1, i)
    return found


def _made_of(module: nn.Module, name: str) -> Iterator[nn.Parameter]:
    """The parameters that a module's parameter of this name is, or was made into."""
    for own in (name, f"{name}_orig", f"{name}_g", f"{name}_v"):
        if (p := module._parameters.get(own)) is not None:
            yield p
    made = getattr(module, "parametrizations", {})
    if name in made:
        yield from made[name].parameters(recurse=False)
