"""Where a module's numbers start, and which of them weight decay leaves alone: what each module says of its own."""

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


def _made_of(module: nn.Module, name: str) -> Iterator[nn.Parameter]:
    """The parameters that a module's parameter of this name is, or was made into."""
    for own in (name, f"{name}_orig", f"{name}_g", f"{name}_v"):
        if (p := module._parameters.get(own)) is not None:
            yield p
    made = getattr(module, "parametrizations", {})
    if name in made:
        yield from made[name].parameters(recurse=False)
