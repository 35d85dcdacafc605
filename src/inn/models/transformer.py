"""The modern Transformer: pre-norm (RMS), rotary positions, SwiGLU, fused attention, small initial weights.

Vaswani et al. 2017 with the parts that later work kept: RMSNorm (Zhang & Sennrich 2019), rotary positions (Su et al.
2021), SwiGLU (Shazeer 2020), residual projections scaled down with depth (Radford et al. 2019).
"""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.rivals import TransformerConfig
from inn.config.signals import SignalTransformerConfig
from inn.models.common import symbol_embedding, symbol_flops, symbol_head, tied_scores
from inn.models.window import Plan, WindowedModel, attend, split_heads
from inn.nn.population import Linear, started
from inn.nn.symbols import widening


class Transformer(WindowedModel):
    """A symbol at position t attends to the symbols t - window + 1 .. t, in one pass as in any split.

    Keys are cached without their positions and turned when they are used, by their distance from the oldest slot, so
    positions stay small however long the stream. As in Transformer-XL, what a cached key has itself seen is kept:
    with L layers, a prediction draws on up to L x (window - 1) + 1 symbols.

    >>> from inn.config.rivals import TransformerConfig
    >>> model = Transformer(TransformerConfig(vocab=27, width=16, heads=2, layers=2, window=8))
    >>> logits, state = model(torch.zeros(2, 20, dtype=torch.long))
    >>> logits.shape, state[1, "k"].shape
    (torch.Size([2, 20, 27]), torch.Size([2, 1, 7, 16]))
    """

    blocks = False

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        c = config
        self.embedding = symbol_embedding(c.vocab, c.embedding_width or c.width, c.embedding_std)
        self.widen = widening(c.embedding_width, c.width)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = nn.RMSNorm(c.width, eps=1e-6)
        self.head = symbol_head(c, bias=False)

    def encode(
        self, tokens: Tensor, plan: Plan, caches: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        # In float32 at least: a bfloat16 model could not tell position 257 from 256.
        dtype = torch.promote_types(self.embedding.weight.dtype, torch.float32)
        x, joined = through(self.layers, self.widen(self.embedding(tokens)), plan, caches, dtype)
        return self.head(self.norm(x), tied_scores(self.embedding)), joined

    def flops(self) -> dict[str, float]:
        """Matrix products, and attention to a full window: every symbol of a running stream sees `window` keys."""
        return {**layer_flops(self.config), **symbol_flops(self.embedding, self.widen, self.head)}


def through(
    layers: nn.ModuleList, x: Tensor, plan: Plan, caches: list[tuple[Tensor, Tensor]], dtype: torch.dtype
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """x `[B, T, D]` through all layers, and what each attended to; positions turn in `dtype`."""
    joined = []
    positions = plan.positions
    if plan.cached:
        slots = torch.arange(plan.slots, device=x.device).expand(positions.shape[0], -1)
        positions = torch.cat((slots, positions), dim=1)
    first: Layer = layers[0]  # type: ignore[assignment]
    key_turns = rotary_angles(positions, x.shape[-1] // first.heads, dtype)
    turns = key_turns[:, -x.shape[1] :]
    for layer, cache in zip(layers, caches, strict=True):
        x, kept = layer(x, plan, cache, turns, key_turns)
        joined.append(kept)
    return x, joined


def layer_flops(c: TransformerConfig | SignalTransformerConfig) -> dict[str, float]:
    """FLOPs per step of the layers, by part."""
    return {
        "projections": 2.0 * c.layers * 4 * c.width**2,
        "attention": 2.0 * c.layers * 2 * c.window * c.width,
        "feedforward": 2.0 * c.layers * 3 * c.width * hidden_width(c),
    }


class Layer(nn.Module):
    """`x + attention(norm(x))`, then `x + swiglu(norm(x))`; no biases."""

    def __init__(self, c: TransformerConfig | SignalTransformerConfig):
        super().__init__()
        self.heads, hidden = c.heads, hidden_width(c)
        self.attention_norm = nn.RMSNorm(c.width, eps=1e-6)
        self.qkv = Linear(c.width, 3 * c.width, bias=False)
        self.attention_out = Linear(c.width, c.width, bias=False)
        self.feedforward_norm = nn.RMSNorm(c.width, eps=1e-6)
        self.gate_up = Linear(c.width, 2 * hidden, bias=False)
        self.down = Linear(hidden, c.width, bias=False)
        self.dropout = nn.Dropout(c.dropout)
        for linear in (self.qkv, self.gate_up):
            started(linear, c.embedding_std)
        for linear in (self.attention_out, self.down):  # 2 x layers of them add up on the residual stream
            started(linear, c.embedding_std * (2 * c.layers) ** -0.5)

    def forward(
        self, x: Tensor, plan: Plan, cache: tuple[Tensor, Tensor], turns: Tensor, key_turns: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x `[B, T, D]` -> the same, and the keys and values `[B, L, D]` that were attended to."""
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        k, v = plan.join(cache[0], k), plan.join(cache[1], v)
        qh, kh, vh = (split_heads(t, self.heads) for t in (q, k, v))
        y = attend(rotate(qh, turns), rotate(kh, key_turns), vh, plan)
        x = x + self.dropout(self.attention_out(y))
        gate, up = self.gate_up(self.feedforward_norm(x)).chunk(2, dim=-1)
        return x + self.dropout(self.down(F.silu(gate) * up)), (k, v)


def hidden_width(c: TransformerConfig | SignalTransformerConfig) -> int:
    """Width inside the SwiGLU: 8/3 of the width makes its three matrices as large as the classic two of 4 x."""
    return c.hidden or 8 * ceil(c.width / 3)


def rotary_angles(positions: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Angles `[..., width / 2]` in radians of positions `[...]`: position times 10000^(-2i / width)."""
    frequencies = 10000.0 ** (-torch.arange(0, width, 2, device=positions.device, dtype=dtype) / width)
    return positions[..., None] * frequencies


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn each pair (i, i + d/2) of x `[B, H, L, d]` by angles `[B or 1, L, d / 2]`."""
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1).to(x.dtype)
