"""Finding the projections of a decoder, taking their weights out, and putting neuronal states in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inn.compress.modules import Guarded, InputStates, NeuronalLinear
from inn.compress.topologies import Block
from inn.system.errors import InputError

_LETTERS = {
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "out_proj": "o",
    "up_proj": "u", "gate_proj": "g", "down_proj": "d",
    "fc1": "u", "fc2": "d", "c_fc": "u", "attn.c_proj": "o", "mlp.c_proj": "d",
}  # fmt: skip
_FUSED = {"c_attn": "qkv", "qkv_proj": "qkv", "gate_up_proj": "gu"}
"""Layers that hold several projections on top of each other."""


@dataclass(frozen=True)
class Projection:
    """Where a block's weight is: rows `first` to `last` of the layer at `path`."""

    path: str
    first: int
    last: int


class Joined(Guarded):
    """Several maps of one input, their outputs side by side: what a layer with fused projections becomes."""

    def __init__(self, parts: list[nn.Linear]):
        super().__init__()
        self.starts = [sum(part.out_features for part in parts[:i]) for i in range(len(parts))]
        self.parts = nn.ModuleList(parts)
        self.replaces: type[nn.Module] = nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], -1)

    @property
    def weight(self) -> Tensor:
        """All weights on top of each other, made anew: transformers looks for one."""
        return torch.cat([part.weight for part in self.parts])  # type: ignore[arg-type]


def layers_of(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The path and the list of a decoder's layers; raises `InputError` where there is no such list."""
    depth = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    lists = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    if not lists:
        kind = type(model).__name__
        raise InputError(
            f"{kind} has no list of {depth} layers to compress; give a decoder such as Llama, Qwen, "
            "Mistral, GPT-2 or Mamba"
        )
    return min(lists, key=lambda found: found[0].count("."))


def find_blocks(model: nn.Module) -> dict[Block, Projection]:
    """The projections of every layer: those with a letter (`inn.compress.topologies.ROLES`), others by their own name.

    Raises `InputError` for a model without any, and for one that is compressed already.
    """
    path, layers = layers_of(model)
    found: dict[Block, Projection] = {}
    for i, layer in enumerate(layers):
        for name, module in layer.named_modules():
            if isinstance(module, NeuronalLinear):
                raise InputError(f"this model is compressed already (layer {i}, {name}); merge it back to dense first")
            if is_linear(module):
                for role, first, last in _parts(model, name, module):
                    found[Block(i, role)] = Projection(f"{path}.{i}.{name}", first, last)
    if not found:
        raise InputError(
            f"the layers of {type(model).__name__} hold no linear projections; there is nothing to compress"
        )
    return found


def refuse_adapters(model: nn.Module) -> None:
    """Raise `InputError` where adapters (peft) hang on a model's layers: their share would be lost."""
    for name, module in model.named_modules():
        if hasattr(module, "base_layer"):
            raise InputError(
                f"'{name}' has an adapter attached; merge it first (peft's `merge_and_unload`), or unload it"
            )


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a dense linear layer, PyTorch's or GPT-2's `Conv1D`."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def weight_of(model: nn.Module, projection: Projection) -> Tensor:
    """A block's weight `[m, n]`, a view."""
    module = model.get_submodule(projection.path)
    if isinstance(module, Joined):
        return _rows(module.parts[module.starts.index(projection.first)])
    return _rows(module)[projection.first : projection.last]


def bias_of(model: nn.Module, projection: Projection) -> Tensor | None:
    """A block's bias `[m]`, a view; None where there is none."""
    module = model.get_submodule(projection.path)
    if isinstance(module, Joined):
        return module.parts[module.starts.index(projection.first)].bias  # type: ignore[return-value]
    bias = module.bias
    return None if bias is None else bias[projection.first : projection.last]  # type: ignore[index]


def put(model: nn.Module, projection: Projection, module: nn.Module) -> None:
    """Put a map in a block's place. A fused layer falls into its parts first, the others staying dense."""
    layer = model.get_submodule(projection.path)
    whole = not is_linear(layer) or (projection.first, projection.last) == (0, len(_rows(layer)))
    if whole and not isinstance(layer, Joined):
        _set(model, projection.path, module)
        return
    if is_linear(layer):
        rows = [(first, last) for _, first, last in _parts(model, projection.path, layer)]
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
        layer = NeuronalLinear(
            weight.shape[1],
            len(weight),
            rank,
            bias=bias is not None,
            shared=shared if made else None,
            readers=sum(_layer(other.path) == _layer(p.path) for other in group),
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
def dense_again(model: nn.Module, place: Projection, layer: NeuronalLinear) -> None:
    """Put the dense layer that computes the same where one of neuronal states is."""
    inside = isinstance(model.get_submodule(place.path), Joined)
    put(model, place, layer.merged() if inside else _of_kind(layer.replaces, layer.merged()))


@torch.no_grad()
def unite(model: nn.Module, path: str, joined: Joined) -> None:
    """Make one dense layer of parts that are all dense again."""
    parts = [part for part in joined.parts if isinstance(part, nn.Linear)]
    whole = nn.Linear(parts[0].in_features, sum(p.out_features for p in parts), bias=parts[0].bias is not None)
    whole = whole.to(parts[0].weight)
    whole.weight.copy_(torch.cat([p.weight for p in parts]))
    if whole.bias is not None:
        whole.bias.copy_(torch.cat([p.bias for p in parts]))
    _set(model, path, _of_kind(joined.replaces, whole))


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


def neuronal(model: nn.Module) -> Iterator[tuple[Projection, NeuronalLinear]]:
    """The compressed projections of a model, and where they were."""
    for name, module in model.named_modules():
        if isinstance(module, NeuronalLinear):
            parent, _, number = name.rpartition(".parts.")
            joined = model.get_submodule(parent) if number.isdecimal() else None
            first = joined.starts[int(number)] if isinstance(joined, Joined) else 0
            path = parent if isinstance(joined, Joined) else name
            yield Projection(path, first, first + module.out_features), module


def _rows(module: nn.Module) -> Tensor:
    weight: Tensor = module.weight  # type: ignore[assignment]
    return weight if isinstance(module, nn.Linear) else weight.T


def _parts(model: nn.Module, name: str, module: nn.Module) -> Iterator[tuple[str, int, int]]:
    """The role and rows of every projection that a linear layer holds."""
    last, rows = name.rsplit(".", 1)[-1], len(_rows(module))
    fused = _FUSED.get(last)
    if fused is None:
        letter = next((s for end, s in _LETTERS.items() if f".{name}".endswith(f".{end}")), last)
        yield letter, 0, rows
        return
    sizes = _fused_sizes(model, fused, rows)
    at = 0
    for letter, size in zip(fused, sizes, strict=True):
        yield letter, at, at + size
        at += size


def _fused_sizes(model: nn.Module, fused: str, rows: int) -> list[int]:
    """How the rows of a fused layer are shared out; keys and values may have fewer heads than queries."""
    config = model.config
    heads = getattr(config, "num_attention_heads", 1)
    groups = getattr(config, "num_key_value_heads", None) or heads
    if fused != "qkv":
        return [rows // len(fused)] * len(fused)
    one = rows // (heads + 2 * groups)
    return [heads * one, groups * one, groups * one]


def _dense(model: nn.Module, projection: Projection) -> nn.Linear:
    weight, bias = weight_of(model, projection), bias_of(model, projection)
    layer = nn.Linear(weight.shape[1], len(weight), bias=bias is not None).to(weight)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def _set(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
