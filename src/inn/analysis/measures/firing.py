"""How many of the units of spiking memories fire."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from inn.models.sequence import SequenceModel
from inn.nn.modes import evaluating


@torch.no_grad()
def firing(model: SequenceModel, given: Tensor, **told: Any) -> dict[str, float]:
    """The share of units that fire at a step, by spiking memory, while a model reads from a fresh state.

    Args:
        given: what it reads, `[B, T]` symbols or `[B, T, F]`.
        told: what it is given beside that.

    Returns nothing for a model without such memories, which does not read then.

    >>> from inn.models.inn import INN
    >>> list(firing(INN(vocab=11, neurons=2, width=8, rounds=1, memory="lif"), torch.zeros(1, 9, dtype=torch.long)))
    ['rounds.0.memory']
    """
    found: dict[str, list[Tensor]] = {}
    with ExitStack() as hooks:
        for path, module in model.named_modules():
            for name in getattr(module, "spiking", ()):
                own = found.setdefault(path[path.find("rounds.") :], [])

                def hook(_: nn.Module, args: tuple[Any, ...], own: list[Tensor] = own) -> None:
                    own.append((args[0] != 0).double().mean())

                hooks.callback(getattr(module, name).register_forward_pre_hook(hook).remove)
        if found:
            with evaluating(model):
                model(given, **told)
    return {path: float(torch.stack(rates).mean()) for path, rates in found.items()}
