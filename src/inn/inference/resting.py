"""How many of the neurons take part, where gates let them rest, and what a step costs then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from inn.models.sequence import SequenceModel
from inn.nn.gates.base import Gate
from inn.nn.modes import evaluating
from inn.nn.presence import counted


class Shares(dict[str, float]):
    """The share of neurons that take part at a step, by gate: `rounds.0.gate`, or `gate` of one that is asked once."""


@contextmanager
def watched(model: nn.Module) -> Iterator[Shares]:
    """Count who takes part while a model reads; the shares are there afterwards, none for a model that never rests.

    Steps that a mask leaves out do not count, and neurons that are absent anyway take no part.
    """
    found, shares = dict[str, list[Tensor]](), Shares()
    with ExitStack() as hooks:
        for path, module in model.named_modules():
            if isinstance(module, Gate) and module.rests:
                own = found.setdefault("gate" if module.once else path[path.find("rounds.") :], [])

                def hook(_: nn.Module, args: Any, given: dict[str, Any], out: Any, own: list[Tensor] = own) -> None:
                    awake, mask = out[0].detach(), given.get("mask")
                    acting = counted(mask, awake if given.get("present") is None else awake & given["present"])
                    steps = torch.ones_like(awake[..., 0]) if mask is None else mask
                    own.append(torch.stack((acting.sum(), steps.sum() * awake.shape[2])).double())  # type: ignore[union-attr]

                hooks.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield shares
    for path, counts in found.items():
        if counts:
            acting, steps = torch.stack(counts).sum(0).tolist()
            shares[path] = acting / max(steps, 1.0)


@torch.no_grad()
def taking_part(model: SequenceModel, given: Tensor, **told: Any) -> Shares:
    """The share of neurons that take part at a step, by gate, while a model reads from a fresh state.

    Args:
        given: what it reads, `[B, T]` symbols or `[B, T, F]`.
        told: what it is given beside that.

    Returns nothing for a model without such gates, which does not read then.

    >>> from inn.models.inn import INN
    >>> model = INN(vocab=11, neurons=2, width=8, rounds=1, gate="active")
    >>> list(taking_part(model, torch.zeros(1, 9, dtype=torch.long)))
    ['rounds.0.gate']
    """
    with watched(model) as shares:
        if any(isinstance(module, Gate) and module.rests for module in model.modules()):
            with evaluating(model):
                model(given, **told)
    return shares


def spent(model: SequenceModel, shares: Mapping[str, float]) -> dict[str, float]:
    """Forward FLOPs per symbol, by part, of a model of which these shares of neurons take part (see `Graph.flops`).

    >>> from inn.models.inn import INN
    >>> model = INN(vocab=11, neurons=4, width=8, rounds=1, router="none", gate="active")
    >>> sum(spent(model, {"rounds.0.gate": 0.25}).values()) < 0.5 * sum(model.flops().values())
    True
    """
    parts, graph = model.flops(), getattr(model, "graph", None)
    if graph is None or not shares:
        return parts
    rounds = range(graph.config.rounds)
    own = [shares.get(f"rounds.{0 if graph.config.share_rounds else r}.gate", shares.get("gate", 1.0)) for r in rounds]
    whole, now = graph.flops(), graph.flops(own)
    return {name: n - whole.get(name, 0.0) + now.get(name, 0.0) for name, n in parts.items()}
