"""What a compressed model is compared with the dense one by: its gradients are what `inn.compress.healing` descends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.blocks import layers_of, neuronal, weight_of
from inn.compress.entry import unpacked
from inn.compress.modules import NeuronalLinear

Call = tuple[tuple[Any, ...], dict[str, Any], Any]
"""What a module is called with, arguments and named ones, and what it gives."""


class Matches:
    """Losses of a compressed model against the dense one; a call leaves the gradient in what is trained.

    Each takes a row `[1, T]` and returns its loss. `logits`: `divergence`.
    `layers`: of every layer, on what the dense one reads, the squared error over the squared size of what the dense one
    adds to its input, a mean over layers. `blocks`: the mean squared error of the outputs of every compressed
    projection, likewise, a sum.
    """

    def __init__(self, model: nn.Module, dense: nn.Module):
        self.model, self.dense = model, dense
        self.by_name: dict[str, Callable[[Tensor], float]] = {
            "logits": self._logits,
            "layers": self._layers,
            "blocks": self._blocks,
        }

    def divergence(self, row: Tensor) -> Tensor:
        """The mean over symbols of KL(dense || compressed), in nats; with its gradient, where that is on."""
        with torch.no_grad():
            wanted = self.dense(input_ids=row, use_cache=False).logits
        return _Divergence.apply(self.model(input_ids=row, use_cache=False).logits, wanted)

    def _logits(self, row: Tensor) -> float:
        return _backward([self.divergence(row)])

    def _layers(self, row: Tensor) -> float:
        """Every layer for itself, so that the graph of one is in memory at a time."""
        path, layers = layers_of(self.model)
        total = 0.0
        for i, (args, kwargs, out) in enumerate(watched(self.dense, [f"{path}.{i}" for i in range(len(layers))], row)):
            args, kwargs = _float(args), _float(kwargs)
            made, wanted = unpacked(layers[i](*args, **kwargs)), unpacked(out).float()
            loss = (made - wanted).square().sum() / (wanted - args[0]).square().sum().clamp_min(1e-12) / len(layers)
            loss.backward()
            total += loss.item()
        return total

    def _blocks(self, row: Tensor) -> float:
        """Every compressed projection for itself: the mean squared error of its outputs."""
        blocks = list(neuronal(self.model))
        paths = list(dict.fromkeys(place.path for place, _ in blocks))
        seen = dict(zip(paths, watched(self.dense, paths, row), strict=True))
        errors = []
        for place, layer in blocks:
            args, _, out = seen[place.path]
            errors.append(nn.functional.mse_loss(layer(args[0].float()), out[..., place.first : place.last].float()))
        return _backward(errors)

    def weights(self) -> float:
        """The mean squared errors of the weights that the states amount to."""
        return _backward(
            nn.functional.mse_loss(_weight(layer), weight_of(self.dense, place).detach().float())
            for place, layer in neuronal(self.model)
        )


class _Divergence(torch.autograd.Function):
    """The mean over symbols of KL(wanted || made), from logits; the gradient is made in one pass, in place."""

    @staticmethod
    def forward(ctx: Any, made: Tensor, wanted: Tensor) -> Tensor:
        made, wanted = made.float(), wanted.float()
        log_made, log_wanted = made.logsumexp(-1, keepdim=True), wanted.logsumexp(-1, keepdim=True)
        chances = (wanted - log_wanted).exp_()
        ctx.save_for_backward(made, log_made, chances)
        return ((chances * (wanted - made)).sum(-1, keepdim=True) + log_made - log_wanted).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        made, log_made, chances = ctx.saved_tensors
        symbols = chances.numel() / chances.shape[-1]
        return (made - log_made).exp_().sub_(chances).mul_(gradients[0] / symbols), None


@torch.no_grad()
def watched(model: nn.Module, paths: Iterable[str], rows: Tensor) -> list[Call]:
    """What the modules at `paths` are called with on rows `[S, T]`, and what they give: arguments, named ones, output.

    In the order of `paths`.
    """
    seen: dict[str, Call] = {}
    paths = list(paths)

    def watch(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            seen[path] = args, kwargs, out

        return hook

    with ExitStack() as hooks:
        for path in paths:
            handle = model.get_submodule(path).register_forward_hook(watch(path), with_kwargs=True)
            hooks.callback(handle.remove)
        model(input_ids=rows, use_cache=False)
    return [seen[path] for path in paths]


def _float(found: Any) -> Any:
    """The same with all floating numbers in float32, which what is trained has."""
    if isinstance(found, Tensor):
        return found.float() if found.is_floating_point() else found
    if isinstance(found, (tuple, list)):
        return type(found)(_float(part) for part in found)
    return {name: _float(part) for name, part in found.items()} if type(found) is dict else found


def _weight(layer: NeuronalLinear) -> Tensor:
    """The weight that the states amount to, with its gradient."""
    return layer.write.weight @ layer.reads.weight[:, : layer.in_features]


def _backward(errors: Iterable[Tensor]) -> float:
    loss = torch.stack(list(errors)).sum()
    loss.backward()
    return loss.item()
