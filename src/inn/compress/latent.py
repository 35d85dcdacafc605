"""A cache of what groups say: per symbol the states of keys and values, not what each head makes of them.

Where keys and values are made of neuronal states (`NeuronalLinear`), the states are all that has to be kept: k_t =
R_t W_k c_t with c_t of the group's rank. Keys are made from states when they are needed, a block of the cache at a
time, because the rotation R_t stands between their output map and the query; the output map of values is applied after
attention, to what a head has gathered, which is the same and far less (the weights of a head add up to 1, so a bias
comes through whole). Keys and values that share their states (topology `kv`) have one for both.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from inn.compress.blocks import layers_of
from inn.compress.modules import NeuronalLinear
from inn.system.errors import InputError

KINDS = ("LlamaAttention", "MistralAttention", "Qwen2Attention")
"""Attention whose keys are a linear map and a rotation."""
BLOCK = 1024
"""Symbols of the cache whose keys are made at a time."""


class LatentLayer(DynamicLayer):
    """One layer's states, keys `[B, 1, S, k]` and values `[B, 1, S, k']`; k' is 0 where keys and values share theirs.

    With `rounded` they are int8, each symbol's with a scale of 16 bits, which stands in two more numbers.
    """

    def __init__(self, rounded: bool = False):
        super().__init__()
        self.rounded = rounded
        self._rooms: list[Tensor | None] = [None, None]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        new = [_to_bytes(x) if self.rounded else x for x in (key_states, value_states)]
        if not self.is_initialized:
            self.lazy_initialization(*new)
            self.keys, self.values = (x[..., :0, :] for x in new)
        held: Any = (self.keys, self.values)
        self.keys, self.values = (self._with(i, x, y) for i, (x, y) in enumerate(zip(held, new)))
        return self.keys, self.values

    def _with(self, i: int, held: Tensor, new: Tensor) -> Tensor:
        """What is held and what is new, in place where there is room: copying all of it for every symbol is slow."""
        if torch.is_grad_enabled():
            return torch.cat([held, new], -2)
        room, length = self._rooms[i], held.shape[-2] + new.shape[-2]
        mine = room is not None and room.data_ptr() == held.data_ptr() and room.shape[:2] == held.shape[:2]
        if room is None or not mine or length > room.shape[-2]:
            room = held.new_empty(*held.shape[:-2], length + length // 8 if len(held[0, 0]) else length, held.shape[-1])
            room[..., : held.shape[-2], :] = held
            self._rooms[i] = room
        room[..., held.shape[-2] : length, :] = new
        return room[..., :length, :]

    def reset(self) -> None:
        super().reset()
        self._rooms = [None, None]


class LatentCache(Cache):
    """A cache for a compressed decoder, as transformers' `DynamicCache` is one: for `past_key_values`.

    Logits are those of the ordinary cache to rounding; a layer whose keys or values are dense keeps these, unrotated.
    The last of its `layers` holds the rotations of all symbols, which the others share.

    Args:
        model: a decoder with attention of `KINDS` (Llama, Mistral and Qwen 2 without a sliding window). Its attention
            knows this cache from then on, and does as ever with any other.
        rounded: keep the states in int8, a scale per symbol.

    Raises `InputError` for any other model, fused projections, and attention that is neither `sdpa` nor `eager`.

    Example: ``model.generate(ids, past_key_values=LatentCache(model))``
    """

    def __init__(self, model: nn.Module, rounded: bool = False):
        attentions = attentions_of(model)
        for attention in attentions:
            if not isinstance(attention, LatentAttention):
                attention.__class__ = _latent(type(attention))
        super().__init__(layers=[*(LatentLayer(rounded) for _ in attentions), LatentLayer()])

    def add(self, layer: int, keys: Tensor, values: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """States of new symbols `[B, T, k]`; all that the layer has, `[B, S, k]`, and rotations `[B, S, h/2]`."""
        turns: Any = self.layers[-1]
        if layer == 0:
            half = rotation[0].shape[-1] // 2
            turns.update(*(x[:, None, :, :half].expand(len(keys), -1, -1, -1) for x in rotation))
        states = self.update(keys[:, None], values[:, None], layer)
        return tuple(x[:, 0] for x in (*states, turns.keys, turns.values))

    @property
    def nbytes(self) -> int:
        """What is held, room for symbols to come left out."""
        return bytes_of(self)


def bytes_of(cache: Cache) -> int:
    """What any cache of keys and values holds."""
    layers: Any = cache.layers
    held = [x for layer in layers for x in (layer.keys, layer.values) if x is not None]
    return sum(x.numel() * x.element_size() for x in held)


class LatentAttention(nn.Module):
    """Attention that reads a `LatentCache` where it is given one."""

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        if not isinstance(past_key_values, LatentCache):
            return super().forward(
                hidden_states,
                position_embeddings=position_embeddings,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                **kwargs,
            )
        assert position_embeddings is not None
        its: Any = self
        rows, symbols, width = *hidden_states.shape[:2], its.head_dim
        q = its.q_proj(hidden_states).view(rows, symbols, -1, width).transpose(1, 2)
        q = _rotated(q, *(x[:, None, :, : width // 2] for x in position_embeddings))
        k, v = _states(its.k_proj, hidden_states), _states(its.v_proj, hidden_states)
        one = k is v
        k, v, cos, sin = past_key_values.add(its.layer_idx, k, k[..., :0] if one else v, position_embeddings)
        heads = its.v_proj.out_features // width
        wide = k.shape[-1] if one else v.shape[-1]
        # The output map of values costs less after attention, unless many symbols are read at once.
        after = q.shape[1] * symbols * (wide - width) < heads * width * wide
        if past_key_values.layers[its.layer_idx].rounded:  # type: ignore[union-attr]
            k, v = (_to_numbers(x, q.dtype) if x.shape[-1] else x for x in (k, v))
        v = k if one else v
        if after:
            out = _gathered(its, q, k, v, cos, sin, attention_mask)
        else:
            keys = _rotated(_heads(its.k_proj, k, width), cos[:, None], sin[:, None])
            out = nn.functional.scaled_dot_product_attention(
                q,
                keys,
                _heads(its.v_proj, v, width),
                attn_mask=attention_mask,
                is_causal=attention_mask is None and symbols > 1,
                scale=its.scaling,
                enable_gqa=True,
            )
        return its.o_proj(out.transpose(1, 2).reshape(rows, symbols, -1)), None


def _gathered(its: Any, q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of few queries `[B, H, T, h]` on states `[B, S, k]`: what heads gather, and then their values."""
    rows, all_heads, symbols, width = q.shape
    groups = its.v_proj.out_features // width
    q = q.reshape(rows, groups, -1, width)  # heads that hear the same keys, one below the other
    scores = torch.cat(
        [
            q @ _rotated(_heads(its.k_proj, part, width), c[:, None], s[:, None]).transpose(-1, -2)
            for part, c, s in zip(k.split(BLOCK, 1), cos.split(BLOCK, 1), sin.split(BLOCK, 1))
        ],
        -1,
    ).view(rows, all_heads, symbols, -1)
    scores = scores * its.scaling
    if mask is None and symbols > 1:
        mask = torch.ones(symbols, symbols, dtype=torch.bool, device=q.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    weights = scores.float().softmax(-1).to(v.dtype)
    gathered = weights.view(rows, -1, weights.shape[-1]) @ v  # [B, H T, k]: all heads read the same states
    if type(its.v_proj) is not NeuronalLinear:
        parts = gathered.view(rows, groups, -1, groups, width)
        return torch.stack([parts[:, g, :, g] for g in range(groups)], 1).view(rows, all_heads, symbols, width)
    write = its.v_proj.write
    out = gathered.view(rows, groups, -1, v.shape[-1]) @ write.weight.view(groups, width, -1).transpose(-1, -2)
    if write.bias is not None:
        out = out + write.bias.view(groups, 1, width)
    return out.view(rows, all_heads, symbols, width)


def _states(projection: nn.Module, x: Tensor) -> Tensor:
    """What is kept of a projection: its states, or all of its output where it has none."""
    if type(projection) is NeuronalLinear:
        return projection.reads(x, projection.readers)
    return projection(x)


def _heads(projection: nn.Module, states: Tensor, width: int) -> Tensor:
    """What a projection makes of states `[B, S, k]`, by heads: `[B, heads, S, h]`."""
    made = projection.write(states) if type(projection) is NeuronalLinear else states
    return made.view(*made.shape[:2], -1, width).transpose(1, 2)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Two halves turned against each other by angles of half the width."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def _to_bytes(x: Tensor) -> Tensor:
    """Numbers `[..., k]` as int8 `[..., k + 2]`: codes, and their scale in float16."""
    if not x.shape[-1]:
        return x.to(torch.int8)
    scale = (x.float().abs().amax(-1, keepdim=True) / 127).half()
    wide = scale.float()
    codes = (x.float() / wide.where(wide > 0, 1)).round().clamp(-127, 127).to(torch.int8)
    return torch.cat([codes, scale.view(torch.int8)], -1)


def _to_numbers(x: Tensor, dtype: torch.dtype) -> Tensor:
    # Cloned, for a scale may stand at an odd byte.
    return x[..., :-2].to(dtype) * x[..., -2:].clone(memory_format=torch.contiguous_format).view(torch.float16).to(
        dtype
    )


@cache
def _latent(kind: type[nn.Module]) -> type[nn.Module]:
    """A class of attention that knows the cache; it has the name of the one that it does the work of."""
    return type(kind.__name__, (LatentAttention, kind), {"__module__": kind.__module__})


def attentions_of(model: nn.Module) -> list[nn.Module]:
    """The attention of every layer; raises `InputError` for a model that cannot have a latent cache."""
    config: Any = model.config
    found: list[nn.Module] = []
    for i, layer in enumerate(layers_of(model)[1]):
        attention = getattr(layer, "self_attn", None)
        if type(attention).__name__ not in KINDS:
            raise InputError(
                f"layer {i} of {type(model).__name__} has no attention with rotated linear keys; a latent cache is for "
                "Llama, Mistral and Qwen 2: use the ordinary one"
            )
        if any(not isinstance(getattr(attention, f"{r}_proj"), (nn.Linear, NeuronalLinear)) for r in "qkv"):
            raise InputError(f"the projections of layer {i} are no linear layers; merge adapters first")
        found.append(attention)  # type: ignore[arg-type]
    sliding = getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
    if sliding:
        raise InputError(f"{type(model).__name__} has a sliding window, which is a small cache; use the ordinary one")
    how = getattr(config, "_attn_implementation", "sdpa")
    if how not in ("sdpa", "eager"):
        raise InputError(f"a latent cache computes as attention 'sdpa' and 'eager' do, and this model has '{how}'")
    return found
