"""The projections of a model: which there are, what they are called, what is left out, and their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from inn.compress.modules import Joined, NeuronalLinear
from inn.compress.pointwise import is_pointwise
from inn.compress.topologies import Block
from inn.system.errors import InputError

_LETTERS = {
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "out_proj": "o",
    "attn.dense": "o", "attention.dense": "o", "attn.c_proj": "o",
    "up_proj": "u", "gate_proj": "g", "down_proj": "d", "fc1": "u", "fc2": "d", "fc_in": "u", "fc_out": "d",
    "c_fc": "u", "mlp.c_proj": "d", "dense_h_to_4h": "u", "dense_4h_to_h": "d",
    # encoders of texts and pictures
    "query": "q", "key": "k", "value": "v", "query_proj": "q", "key_proj": "k", "value_proj": "v",
    "q_lin": "q", "k_lin": "k", "v_lin": "v", "out_lin": "o", "attn.Wo": "o", "attention.output.dense": "o",
    "lin1": "u", "lin2": "d", "wi": "u", "wi_0": "g", "wi_1": "u", "wo": "d", "mlp.Wo": "d",
    "intermediate.dense": "u", "intermediate_dense": "u", "output.dense": "d", "output_dense": "d",
}  # fmt: skip
"""Letters of projections, by how their paths end."""
_ON_TOP = {
    "c_attn": ("GPT2Attention", "DecisionTransformerGPT2Attention", "ImageGPTAttention", "GPTBigCodeAttention"),
    "qkv_proj": ("Phi3Attention", "Phi4MultimodalAttention"),
    "Wqkv": ("ModernBertAttention",),
    "qkv": (
        "VitDetAttention",
        "SamVisionAttention",
        "SamVisionSdpaAttention",
        "VisionAttention",
        "Qwen2_5_VLVisionAttention",
    ),
}
"""Layers that hold q, k and v on top of each other, in the classes that do so; others interleave them by heads."""
_BEFORE = {"c_attn": "qkv", "qkv_proj": "qkv", "gate_up_proj": "gu"}
"""What folders of before took all layers of these names to hold, on top of each other."""
_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

SHELF = "_shelf"
"""The attribute of a model whose layers are read from files as they run (`inn.compress.shelf`)."""


@dataclass(frozen=True)
class Projection:
    """Where a block's weight is: rows `first` to `last` of the layer at `path`."""

    path: str
    first: int
    last: int


Part = tuple[str, int, int]
"""The letter, or the name, of a projection in a layer, and its rows."""


def layers_of(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The path and the list of the layers of a decoder or an encoder; of the part that writes text where it has others.

    Raises `InputError` where there is no such list, or more than one that counts.
    """
    config: Any = getattr(model, "config", None)
    kind = type(model).__name__
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{kind} is an encoder and a decoder at once, which are not compressed together; give one that is either, "
            "such as Llama, BERT, ViT or T5EncoderModel"
        )
    if getattr(config, "depths", None) is not None:
        raise InputError(
            f"{kind} is made of stages of different widths, and only models whose layers are all alike are compressed; "
            "give one such as ViT or DINOv2"
        )
    depth = getattr(text_config(config), "num_hidden_layers", None)
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model  # type: ignore[operator]
    inside = {id(module) for module in (decoder or model).modules()}
    lists = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    lists = [found for found in lists if id(found[1]) in inside] or lists
    if not lists:
        raise InputError(
            f"{kind} has no list of {depth} layers to compress; give a decoder such as Llama, Qwen, Mistral, GPT-2 or "
            "Mamba, or an encoder such as BERT or ViT"
        )
    return min(lists, key=lambda found: found[0].count("."))


def text_config(config: Any) -> Any:
    """The part of a configuration that is about the layers of `layers_of`: all of it, where a model has one part."""
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config


def find_blocks(model: nn.Module) -> dict[Block, Projection]:
    """The projections of every layer: those with a letter (`inn.compress.topologies.ROLES`), others by a name.

    The name is the last one of the path; where a layer has several projections of a letter or a name, the one that is
    the least deep has it, and the others have their whole path in the layer. What is used in several places, what does
    more than a linear layer (a router), and what would be larger in states of one number, is none.

    Raises `InputError` for a model without any, one that is compressed already, adapters, and weights that are not
    plain numbers.
    """
    refuse_adapters(model)
    path, layers = layers_of(model)
    stored = SHELF in model.__dict__
    used = Counter(id(m) for layer in layers for m in set(layer.modules()))
    inside: list[dict[str, list[Part]]] = []
    for i, layer in enumerate(layers):
        inside.append({})
        for name, module in layer.named_modules():
            if isinstance(module, NeuronalLinear):
                raise InputError(f"this model is compressed already (layer {i}, {name}); merge it back to dense first")
            if is_linear(module) and _only_linear(module, stored) and used[id(module)] == 1:
                _check(f"{path}.{i}.{name}", module, stored)
                if rows_of_weight(module).numel() > sum(rows_of_weight(module).shape):
                    inside[-1][name] = list(parts(model, f"{path}.{i}.{name}", module))
    spelled = _spelled(inside)
    found = {
        Block(i, _role(name, role, held) if role in spelled[name] else role): Projection(
            f"{path}.{i}.{name}", first, last
        )
        for i, layer in enumerate(inside)
        for name, held in layer.items()
        for role, first, last in held
    }
    if not found:
        raise InputError(
            f"the layers of {type(model).__name__} hold no linear projections; there is nothing to compress"
        )
    return found


def _role(name: str, role: str, held: list[Part]) -> str:
    """A projection's whole path in its layer, and its letter where the layer at that path holds several."""
    return f"{name}.{role}" if len(held) > 1 else name


def _spelled(inside: Iterable[Mapping[str, list[Part]]]) -> dict[str, set[str]]:
    """For every path within a layer, the roles that another projection of some layer has a better claim to."""
    spelled: dict[str, set[str]] = {name: set() for layer in inside for name in layer}
    for layer in inside:
        claims: dict[str, list[str]] = {}
        for name, held in layer.items():
            for role, _, _ in held:
                claims.setdefault(role, []).append(name)
        for role, names in claims.items():
            least = min(name.count(".") for name in names)
            first = [name for name in names if name.count(".") == least]
            for name in names:
                if len(names) > 1 and (name not in first or len(first) > 1):
                    spelled[name].add(role)
    return spelled


def left_out(model: nn.Module, blocks: Iterable[Projection]) -> dict[str, int]:
    """The parameters of all matrices in a model's layers that are in none of `blocks`, by the path of their module.

    A number in a path stands for all layers, or all of a list, as `*`; the largest come first.
    """
    path, layers = layers_of(model)
    taken: Counter[str] = Counter()
    for p in blocks:
        weight = rows_of_weight(model.get_submodule(p.path))
        taken[p.path] += (p.last - p.first) * weight.shape[1]
    found: Counter[str] = Counter()
    for name, p in layers.named_parameters():
        owner, _, last = name.rpartition(".")
        if p.ndim > 1 and (left := p.numel() - (taken[f"{path}.{owner}"] if last == "weight" else 0)) > 0:
            where = owner if last == "weight" else name
            found[".".join("*" if part.isdecimal() else part for part in f"{path}.{where}".split("."))] += left
    return dict(found.most_common())


def weight_of(model: nn.Module, projection: Projection) -> Tensor:
    """A block's weight `[m, n]`, a view."""
    module = model.get_submodule(projection.path)
    if isinstance(module, Joined):
        return rows_of_weight(module.parts[module.starts.index(projection.first)])
    return rows_of_weight(module)[projection.first : projection.last]


def bias_of(model: nn.Module, projection: Projection) -> Tensor | None:
    """A block's bias `[m]`, a view; None where there is none."""
    module = model.get_submodule(projection.path)
    if isinstance(module, Joined):
        return module.parts[module.starts.index(projection.first)].bias  # type: ignore[return-value]
    bias = module.bias
    return None if bias is None else bias[projection.first : projection.last]  # type: ignore[index]


def neuronal(model: nn.Module) -> Iterator[tuple[Projection, NeuronalLinear]]:
    """The compressed projections of a model, and where they were."""
    for name, module in model.named_modules():
        if isinstance(module, NeuronalLinear):
            parent, _, number = name.rpartition(".parts.")
            joined = model.get_submodule(parent) if number.isdecimal() else None
            first = joined.starts[int(number)] if isinstance(joined, Joined) else 0
            path = parent if isinstance(joined, Joined) else name
            yield Projection(path, first, first + module.out_features), module


def refuse_adapters(model: nn.Module) -> None:
    """Raise `InputError` where adapters (peft) hang on a model's layers: their share would be lost."""
    for name, module in model.named_modules():
        if hasattr(module, "base_layer"):
            raise InputError(
                f"'{name}' has an adapter attached; merge it first (peft's `merge_and_unload`), or unload it"
            )


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a dense linear layer: PyTorch's, GPT-2's `Conv1D`, or a convolution of one place."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D" or is_pointwise(module)


def _only_linear(module: nn.Module, stored: bool) -> bool:
    """Whether a linear layer's class leaves it at that: some route, quantise or scale what they give out.

    One that computes the product in its own way (Falcon's) is tried on a few numbers, if they are in memory.
    """
    if type(module).forward is nn.Linear.forward or not isinstance(module, nn.Linear):
        return True
    weight = module.weight
    if stored and weight.is_meta:
        return False
    if is_parametrized(module) or weight.is_meta or weight.dtype not in _DTYPES:
        return True  # which `_check` refuses
    x = torch.linspace(-1, 1, 2 * weight.shape[1], dtype=weight.dtype, device=weight.device).view(2, -1)
    with torch.no_grad():
        y, expected = module(x), nn.functional.linear(x, weight, module.bias)
    return isinstance(y, Tensor) and y.shape == expected.shape and torch.allclose(y, expected, rtol=1e-2, atol=1e-4)


def _check(path: str, module: nn.Module, stored: bool) -> None:
    """Raise `InputError` for a weight that cannot be read, or put back, as a matrix of plain numbers."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    if is_parametrized(module):
        raise InputError(f"the weight of '{path}' is parametrised; remove the parametrisation first")
    if weight.is_meta and not stored:
        raise InputError(f"the weight of '{path}' is offloaded, or was never loaded; load the model into memory first")
    if weight.dtype not in _DTYPES or type(weight) not in (nn.Parameter, Tensor) or rows_of_weight(module).ndim != 2:
        kind = type(weight).__name__ if type(weight) not in (nn.Parameter, Tensor) else weight.dtype
        raise InputError(f"the weight of '{path}' is quantised ({kind}); compress the model before it is quantised")


def rows_of_weight(module: nn.Module, gradient: Tensor | None = None) -> Tensor:
    """A linear layer's weight `[m, n]`, a view; or its gradient so."""
    weight: Tensor = module.weight if gradient is None else gradient  # type: ignore[assignment]
    if is_pointwise(module):
        return weight.flatten(1)
    return weight if isinstance(module, nn.Linear) else weight.T


def parts(model: nn.Module, path: str, module: nn.Module) -> Iterator[Part]:
    """The role and rows of every projection that a linear layer holds.

    What holds several that are not on top of each other stays whole, and has its own name.
    """
    last, rows = path.rsplit(".", 1)[-1], len(rows_of_weight(module))
    parent = model.get_submodule(path.rpartition(".")[0])
    fused = "gu" if last == "gate_up_proj" or (last == "Wi" and type(parent).__name__ == "ModernBertMLP") else None
    if type(parent).__name__ in _ON_TOP.get(last, ()) and not getattr(parent, "is_cross_attention", False):
        fused = "qkv"
    single = False
    if type(parent).__name__ == "GPTBigCodeAttention":
        single = bool(getattr(parent, "multi_query", False))
        fused = fused if single else None
    if fused is None:
        letter = next((s for end, s in _LETTERS.items() if f".{path}".endswith(end if "." in end else f".{end}")), last)
        yield letter, 0, rows
    else:
        yield from _on_top(model, fused, rows, 1 if single else None)


def parts_before(model: nn.Module, path: str, rows: int) -> list[Part]:
    """The parts that folders of before have of a layer that is left whole by now; none where they had none."""
    fused = _BEFORE.get(path.rsplit(".", 1)[-1])
    return [] if fused is None else list(_on_top(model, fused, rows))


def _on_top(model: nn.Module, letters: str, rows: int, groups: int | None = None) -> Iterator[Part]:
    """How the rows of a layer are shared out; keys and values may have fewer heads (`groups`) than queries."""
    config: Any = model.config
    heads: int = getattr(config, "num_attention_heads", 1)
    shared: int = groups or getattr(config, "num_key_value_heads", None) or heads
    one = rows // (heads + 2 * shared)
    sizes = [heads * one, shared * one, shared * one] if letters == "qkv" else [rows // len(letters)] * len(letters)
    at = 0
    for letter, size in zip(letters, sizes, strict=True):
        yield letter, at, at + size
        at += size
