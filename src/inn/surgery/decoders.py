"""Parts of a Hugging Face decoder: its layers, or hidden units of their feed-forward maps, cut out and put in.

What `inn.cut` and `inn.graft` do with rounds and neurons of a graph; an organ holds tensors `layers.0.…`, counted from
the first layer that was cut.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.blocks import layers_of, refuse_adapters
from inn.models.names import blocks_of
from inn.surgery.experts import ExpertMLP, axis_of, maps_of, units_of
from inn.surgery.plans import chosen
from inn.system.errors import InputError
from inn.system.files import sha256_of

_JOINT = (
    "model_type", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
    "hidden_act", "activation_function", "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "rope_parameters",
    "sliding_window",
)  # fmt: skip
"""Settings of a decoder in which donor and base must agree."""
_NAME = re.compile(r"layers\.(\d+)\..+")


def is_decoder(model: Any) -> bool:
    """Whether a model is one of Hugging Face's, whose layers can be had."""
    return isinstance(model, nn.Module) and hasattr(getattr(model, "config", None), "num_hidden_layers")


def cut_decoder(
    model: Any, neurons: Sequence[int] | None, rounds: Sequence[int] | None, layers: Sequence[int] | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What an organ of a decoder's layers, or of hidden units in them, says of itself, and its tensors."""
    refuse_adapters(model)
    _, every = layers_of(model)
    given = rounds if neurons is None else layers
    numbers = chosen("layer", range(len(every)) if given is None else given, len(every))
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise InputError(f"layers {numbers} have others between them; cut layers that follow one another")
    about: dict[str, Any] = {
        "what": "rounds" if neurons is None else "neurons", "numbers": numbers, "ids": [],
        "decoder": {**joint(model), "layer_types": _types(model, numbers), "layers": numbers},
        "embedding_sha256": _embedding(model),
    }  # fmt: skip
    if neurons is None:
        return about, {f"layers.{j}.{n}": t for j, i in enumerate(numbers) for n, t in every[i].state_dict().items()}
    tensors = {}
    for j, i in enumerate(numbers):
        for name, t, axis in _units(every[i], i):
            about["numbers"] = chosen("hidden unit", neurons, t.shape[axis])
            at = torch.tensor(about["numbers"], device=t.device)
            tensors[f"layers.{j}.{name}"] = t.index_select(axis, at)
    return about, tensors


@torch.no_grad()
def graft_decoder(
    base: Any, about: dict[str, Any], tensors: dict[str, Tensor], at: int | None, insert: bool, freeze: bool
) -> Any:
    """A decoder with an organ's layers, or hidden units, in the place of its own, or with layers more."""
    refuse_adapters(base)
    own, ours = about["decoder"], joint(base)
    for name, value in ours.items():
        if name != "intermediate_size" and own.get(name) != value:
            raise InputError(
                f"the organ does not fit: its {name} is {own.get(name)}, and the base's is {value}; graft it into a "
                "model like its donor"
            )
    units, numbers = about["what"] == "neurons", own["layers"]
    if units and (insert or freeze):
        raise InputError("hidden units take the place of the base's, and train with it; leave insert and freeze out")
    count, first, depth = len(numbers), numbers[0] if at is None else at, len(layers_of(base)[1])
    last = depth if insert else depth - count
    if not 0 <= first <= last:
        where = f"from 0 to {last}" if last >= 0 else f"nowhere, with {depth} layers"
        raise InputError(f"an organ of {count} layers can be grafted at {where}, not at {first}")
    if _embedding(base) != about.get("embedding_sha256"):
        warnings.warn("the embedding of this model is not that of the organ's donor (its sha256 differs)", stacklevel=5)
    new = copy.deepcopy(base)
    if insert:
        _make_room(new, first, count, own["layer_types"])
    _, every = layers_of(new)
    places = list(range(first, first + count))
    if (types := _types(new, places)) != own["layer_types"]:
        raise InputError(
            f"the organ does not fit: its layers attend by {own['layer_types']}, and the base's at {first} by {types}"
        )
    for j, i in enumerate(places):
        mine = {n.removeprefix(f"layers.{j}."): t for n, t in tensors.items() if n.startswith(f"layers.{j}.")}
        if units:
            _put_units(every[i], i, mine, about["numbers"])
        else:
            _put(every[i], i, mine)
    if freeze:
        new.requires_grad_(False)
        for i in places:
            every[i].requires_grad_(True)
    return new


def check_decoder(about: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """What is wrong with an organ that says it is of a decoder; empty: nothing that can be told without a base."""
    own = about["decoder"]
    layers = own.get("layers") if isinstance(own, dict) else None
    if not isinstance(layers, list) or not layers or not all(type(n) is int and n >= 0 for n in layers):
        return "does not name its layers"
    if layers != list(range(layers[0], layers[0] + len(layers))):
        return "names layers that do not follow one another"
    found = [_NAME.fullmatch(name) for name in tensors]
    if not all(found) or {int(m.group(1)) for m in found if m} != set(range(len(layers))):
        return "and its weights differ in their layers"
    return ""


def joint(model: Any) -> dict[str, Any]:
    """What two decoders must have in common where they are joined."""
    config, (_, every) = _text(model), layers_of(model)
    known = {name: getattr(config, name, None) for name in _JOINT}
    return {"layer": type(every[0]).__name__, **{name: value for name, value in known.items() if value is not None}}


def _text(model: Any) -> Any:
    config = model.config
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config


def _types(model: Any, numbers: Sequence[int]) -> list[str] | None:
    """How these layers attend (sliding, full), where a decoder has layers of several sorts."""
    types = getattr(_text(model), "layer_types", None)
    return None if types is None else [types[i] for i in numbers]


def _embedding(model: Any) -> str:
    return sha256_of(blocks_of({"embedding": model.get_input_embeddings().weight.detach()}))


def _units(layer: nn.Module, number: int) -> Iterator[tuple[str, Tensor, int]]:
    """What has an axis of hidden units in a layer: names, tensors and axes."""
    found = [(path, m) for path, m in layer.named_modules() if maps_of(m) is not None]
    if len(found) != 1:
        raise InputError(
            f"layer {number} has {len(found)} feed-forward maps of two linear layers, or three with a gate"
        )
    (path, mlp), maps = found[0], maps_of(found[0][1])
    if isinstance(mlp, ExpertMLP):
        raise InputError(
            f"layer {number} is in experts, which have its hidden units in another order; unsplit it first"
        )
    assert maps is not None
    for name, t in units_of(mlp, maps).items():
        yield f"{path}.{name}", t.detach(), axis_of(mlp, maps, name)


def _put(layer: nn.Module, number: int, tensors: dict[str, Tensor]) -> None:
    own = layer.state_dict()
    if differ := sorted(own.keys() ^ tensors.keys()):
        raise InputError(f"the organ does not fit: layer {number} of the base and its own differ in '{differ[0]}'")
    for name, t in own.items():
        _check_shape(name, tensors[name], t)
        t.copy_(tensors[name])


def _put_units(layer: nn.Module, number: int, tensors: dict[str, Tensor], units: Sequence[int]) -> None:
    for name, t, axis in _units(layer, number):
        if name not in tensors:
            raise InputError(f"the organ does not fit: it lacks '{name}', which layer {number} of the base has")
        if (last := max(units)) >= t.shape[axis]:
            raise InputError(f"the organ does not fit: it has hidden unit {last}, and '{name}' has {t.shape[axis]}")
        at = torch.tensor(list(units), device=t.device)
        _check_shape(name, tensors[name], t.index_select(axis, at))
        t.index_copy_(axis, at, tensors[name].to(t))


def _check_shape(name: str, theirs: Tensor, ours: Tensor) -> None:
    if theirs.shape != ours.shape:
        raise InputError(f"the organ does not fit: its '{name}' is {[*theirs.shape]}, and the base's {[*ours.shape]}")


def _make_room(model: Any, first: int, count: int, types: list[str] | None) -> None:
    """Put so many layers in front of layer `first`, of these sorts, with weights of others; they are counted anew."""
    config, (_, every) = _text(model), layers_of(model)
    there = _types(model, range(len(every)))
    for j in range(count):
        like = 0
        if types is not None and there is not None:
            if types[j] not in there:
                raise InputError(
                    f"the organ does not fit: its layer attends by {types[j]}, and none of the base's does"
                )
            like = there.index(types[j])
            there.insert(first + j, types[j])
        every.insert(first + j, copy.deepcopy(every[like]))
    config.num_hidden_layers = len(every)
    if there is not None:
        config.layer_types = there
    for i, layer in enumerate(every):
        for m in layer.modules():
            for name in ("layer_idx", "layer_id"):
                if isinstance(getattr(m, name, None), int):
                    setattr(m, name, i)
