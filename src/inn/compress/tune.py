"""The fine-tuning of the *Neuronal Group Communication* authors' released code: every block learns to do as before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.blocks import neuronal, weight_of
from inn.compress.modules import NeuronalLinear
from inn.system.errors import InputError


def tune(
    model: nn.Module,
    dense: nn.Module,
    rows: Tensor,
    epochs: int,
    *,
    lr: float = 2e-6,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> list[float]:
    """Train a compressed model's states, block by block, on what the dense model's blocks read and give out.

    Adam; in every epoch one step on the sum over blocks of the mean squared error of their weights, then one for each
    row of the text on that of their outputs. Nothing but neuronal states and their biases is changed. It needs both
    models at once. Where states are refitted in closed form (`CompressionPlan.refit`) there is little left for it to
    find; what lowers perplexity is training on the loss itself, like any model.

    Args:
        model: the compressed model, trained in place.
        dense: the model that it was made of.
        rows: `[S, T]` int64, the text.
        epochs: how often the text is gone through.
        lr: the authors' by default.
        report: called with the epochs done, and how many there are.

    Returns the loss of the outputs, a mean over the rows of every epoch.

    Raises `InputError` for a model without neuronal states, and for fewer than one epoch.

    Example: ``tune(small, dense, rows, epochs=10)``
    """
    blocks = list(neuronal(model))
    if not blocks:
        raise InputError("this model holds no neuronal groups to tune; compress it first")
    if epochs < 1:
        raise InputError(f"epochs must be at least 1, not {epochs}")
    optimizer = torch.optim.Adam({p for _, layer in blocks for p in _states(layer)}, lr)
    losses = []
    with torch.enable_grad():
        for epoch in range(epochs):
            _step(optimizer, [nn.functional.mse_loss(_weight(b), weight_of(dense, p).detach()) for p, b in blocks])
            total = 0.0
            for row in rows:
                seen = watched(dense, {place.path for place, _ in blocks}, row)
                errors = []
                for place, layer in blocks:
                    x, y = seen[place.path]
                    errors.append(nn.functional.mse_loss(layer(x), y[..., place.first : place.last]))
                total += _step(optimizer, errors)
            losses.append(total / len(rows))
            report(epoch + 1, epochs)
    return losses


@torch.no_grad()
def watched(model: nn.Module, paths: set[str], row: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What the layers at `paths` read of a text `[T]`, and what they give out."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
            seen[path] = args[0], out

        return hook

    with ExitStack() as hooks:
        for path in paths:
            hooks.callback(model.get_submodule(path).register_forward_hook(watch(path)).remove)
        model(input_ids=row[None], use_cache=False)
    return seen


def _states(layer: NeuronalLinear) -> list[nn.Parameter]:
    return [layer.reads.weight, *layer.write.parameters()]


def _weight(layer: NeuronalLinear) -> Tensor:
    """The weight that the states amount to, with its gradient."""
    return layer.write.weight @ layer.reads.weight[:, : layer.in_features]


def _step(optimizer: torch.optim.Optimizer, errors: list[Tensor]) -> float:
    loss = torch.stack(errors).sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()
