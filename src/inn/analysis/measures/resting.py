"""How many of the neurons take part, where gates let them rest."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from inn.models.sequence import SequenceModel
from inn.nn.gates.base import Gate
from inn.nn.modes import evaluating


@torch.no_grad()
def taking_part(model: SequenceModel, given: Tensor) -> dict[str, float]:
    """The share of neurons that take part at a step, by gate of a round, while a model reads from a fresh state.

    Args:
        given: what it reads, `[B, T]` symbols or `[B, T, F]`.

    Returns nothing for a model without such gates, which does not read then.

    >>> from inn.models.inn import INN
    >>> model = INN(vocab=11, neurons=2, width=8, rounds=1, gate="active")
    >>> list(taking_part(model, torch.zeros(1, 9, dtype=torch.long)))
    ['rounds.0.gate']
    """
    found: dict[str, list[Tensor]] = {}
    with ExitStack() as hooks:
        for path, module in model.named_modules():
            if isinstance(module, Gate) and module.rests and not module.once:
                own = found.setdefault(path[path.find("rounds.") :], [])

                def hook(_: nn.Module, args: Any, out: tuple[Tensor, ...], own: list[Tensor] = own) -> None:
                    own.append(out[0].double().mean())

                hooks.callback(module.register_forward_hook(hook).remove)
        if found:
            with evaluating(model):
                model(given)
    return {path: float(torch.stack(shares).mean()) for path, shares in found.items()}
