"""Putting neuronal states in the place of projections, and dense layers back in the place of states."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from inn.compress.blocks import (
    Projection,
    bias_of,
    is_linear,
    neuronal,
    parts,
    parts_before,
    rows_of_weight,
    weight_of,
)
from inn.compress.modules import InputStates, Joined, NeuronalLinear
from inn.compress.pointwise import NeuronalPointwise, is_pointwise
from inn.compress.states import States


def put(model: nn.Module, projection: Projection, module: nn.Module) -> None:
    """Put a map in a block's place. A fused layer falls into its parts first, the others staying dense."""
    layer = model.get_submodule(projection.path)
    whole = not is_linear(layer) or (projection.first, projection.last) == (0, len(rows_of_weight(layer)))
    if whole and not isinstance(layer, Joined):
        _set(model, projection.path, module)
        return
    if is_linear(layer):
        mine = (projection.first, projection.last)
        rows = [(first, last) for _, first, last in parts(model, projection.path, layer)]
        if mine not in rows:  # a folder of before, which split what is left whole by now
            rows = [
                (first, last) for _, first, last in parts_before(model, projection.path, len(rows_of_weight(layer)))
            ]
        kind = type(layer)
        layer = Joined([_dense(model, Projection(projection.path, *part)) for part in rows])
        layer.replaces = kind
        _set(model, projection.path, layer)
    assert isinstance(layer, Joined)
    layer.parts[layer.starts.index(projection.first)] = module


@torch.no_grad()
def put_group(model: nn.Module, group: Sequence[Projection], rank: int) -> list[NeuronalLinear]:
    """Put layers of neuronal states, not set yet, in the place of a group's blocks; biases are taken over."""
    made: list[NeuronalLinear] = []
    widest = max(weight_of(model, p).shape[1] for p in group)
    shared = InputStates(widest, rank).to(weight_of(model, group[0]))
    for p in group:
        weight, bias = weight_of(model, p), bias_of(model, p)
        old = model.get_submodule(p.path)
        kind = partial(NeuronalPointwise, stride=old.stride) if is_pointwise(old) else NeuronalLinear  # type: ignore
        layer = kind(
            weight.shape[1],
            len(weight),
            rank,
            bias=bias is not None,
            shared=shared if made else None,
            readers=1 if is_pointwise(old) else sum(_layer(other.path) == _layer(p.path) for other in group),
        ).to(weight)
        if not made:
            layer.states = shared
        if bias is not None:
            layer.write.bias.copy_(bias)
        made.append(layer)
    for p, layer in zip(group, made):
        layer.replaces = type(model.get_submodule(p.path))
        put(model, p, layer)
    return made


@torch.no_grad()
def put_states(model: nn.Module, group: Sequence[Projection], states: States) -> None:
    """Put a group's states in the place of its blocks."""
    layers = put_group(model, group, states.rank)
    layers[0].reads.weight.copy_(states.inputs.T)
    for layer, outputs in zip(layers, states.outputs, strict=True):
        layer.write.weight.copy_(outputs)


def make_dense(model: nn.Module) -> None:
    """Put dense layers that compute the same in the place of all that are made of states, in place."""
    for place, layer in list(neuronal(model)):
        dense_again(model, place, layer)
    for name, module in list(model.named_modules()):
        if isinstance(module, Joined):
            unite(model, name, module)


@torch.no_grad()
def dense_again(model: nn.Module, place: Projection, layer: NeuronalLinear) -> None:
    """Put the dense layer that computes the same where one of neuronal states is."""
    if isinstance(layer, NeuronalPointwise):
        put(model, place, layer.convolution())
        return
    inside = isinstance(model.get_submodule(place.path), Joined)
    put(model, place, layer.merged() if inside else _of_kind(layer.replaces, layer.merged()))


@torch.no_grad()
def unite(model: nn.Module, path: str, joined: Joined) -> None:
    """Make one dense layer of parts that are all dense again."""
    parts = [part for part in joined.parts if isinstance(part, nn.Linear)]
    biases: list[Tensor] = [part.bias for part in parts if part.bias is not None]
    whole = _linear(torch.cat([part.weight for part in parts]), torch.cat(biases) if biases else None)
    _set(model, path, _of_kind(joined.replaces, whole))


@torch.no_grad()
def put_dense(model: nn.Module, path: str, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Put a dense layer of this weight `[m, n]`, of the kind that is at `path`, in its place; it is returned."""
    old = model.get_submodule(path)
    made = _of_kind(type(old), _linear(weight, bias))
    made.weight.requires_grad_(old.weight.requires_grad)  # type: ignore[union-attr, operator]
    made.train(old.training)
    _set(model, path, made)
    return made


def _of_kind(kind: type[nn.Module], layer: nn.Linear) -> nn.Module:
    """A linear layer as GPT-2's `Conv1D`, where that is what the architecture has."""
    if kind.__name__ != "Conv1D":
        return layer
    turned = kind(layer.out_features, layer.in_features).to(layer.weight)  # its weight is [inputs, outputs]
    turned.weight.copy_(layer.weight.T)  # type: ignore[operator, union-attr]
    turned.bias.copy_(0 if layer.bias is None else layer.bias)  # type: ignore[operator, union-attr]
    return turned


def _layer(path: str) -> str:
    """The layer that a path leads into: all up to its last number."""
    parts = path.split(".")
    return ".".join(parts[: max(i for i, part in enumerate(parts) if part.isdecimal()) + 1])


def _dense(model: nn.Module, projection: Projection) -> nn.Linear:
    return _linear(weight_of(model, projection), bias_of(model, projection))


@torch.no_grad()
def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A layer of its own with a copy of these numbers."""
    layer = nn.Linear(weight.shape[1], len(weight), bias=bias is not None, device=weight.device, dtype=weight.dtype)
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer


def _set(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
