"""The paper's Transformer: PyTorch's encoder layers (post-norm, ReLU), sinusoidal positions, causal mask."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.rivals import PaperTransformerConfig
from inn.models.common import Head, symbol_embedding, tied_scores
from inn.models.window import Plan, WindowedModel, attend, split_heads
from inn.nn.population import project


class PaperTransformer(WindowedModel):
    """A stream is cut into blocks of `window` symbols; positions restart and attention ends at each block's start.

    That is how the published model was trained (one window at a time, positions from 0), and it is the only reading
    under which absolute positions stay within the window *and* any split of the stream equals one pass: a window that
    slid would give a symbol a new position, and so new keys, at every step. A reset starts a new block.

    >>> from inn.config.rivals import PaperTransformerConfig
    >>> PaperTransformer(PaperTransformerConfig(vocab=27)).num_parameters
    4745499
    """

    blocks = True

    def __init__(self, config: PaperTransformerConfig):
        super().__init__(config)
        c = config
        self.embedding = symbol_embedding(c.vocab, c.width, c.embedding_std)
        self.layers = nn.ModuleList(
            Layer(c.width, c.heads, c.hidden, c.dropout, batch_first=True) for _ in range(c.layers)
        )
        self.head = Head(c.vocab, c.width, tied=True, bias=True)

    def encode(
        self, tokens: Tensor, plan: Plan, caches: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        x, joined = self.embedding(tokens), []
        x = x + sinusoids(self.config.window, self.config.width).to(x)[plan.positions]
        for layer, cache in zip(self.layers, caches, strict=True):
            x, kept = layer(x, plan, cache)
            joined.append(kept)
        return self.head(x, tied_scores(self.embedding)), joined

    def flops(self) -> dict[str, float]:
        """Matrix products, and attention to half a block: a symbol sees (window + 1) / 2 keys on average."""
        c = self.config
        return {
            "projections": 2.0 * c.layers * 4 * c.width**2,
            "attention": 2.0 * c.layers * 2 * (c.window + 1) / 2 * c.width,
            "feedforward": 2.0 * c.layers * 2 * c.width * c.hidden,
            "head": 2.0 * c.vocab * c.width,
        }


class Layer(nn.TransformerEncoderLayer):
    """PyTorch's encoder layer, whose keys and values of earlier calls come from a cache."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        attention: Any = self.self_attn
        attention.__class__, attention.out_proj.__class__ = _Attention, _Out

    def forward(  # type: ignore[override]
        self, x: Tensor, plan: Plan, cache: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x `[B, T, D]` -> the same, and the keys and values `[B, L, D]` that were attended to."""
        y, kept = self.self_attn(x, plan, cache)
        x = self.norm1(x + self.dropout1(y))
        y = self.linear2(self.dropout(F.relu(self.linear1(x))))
        return self.norm2(x + self.dropout2(y)), kept


class _Attention(nn.MultiheadAttention):
    """PyTorch's own takes queries and keys from the same tensor."""

    matrix_weights = ("in_proj_weight",)

    def reset_parameters(self) -> None:
        self._reset_parameters()

    def forward(  # type: ignore[override]
        self, x: Tensor, plan: Plan, cache: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = project(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        k, v = plan.join(cache[0], k), plan.join(cache[1], v)
        qh, kh, vh = (split_heads(t, self.num_heads) for t in (q, k, v))
        return self.out_proj(attend(qh, kh, vh, plan, self.dropout if self.training else 0.0)), (k, v)


class _Out(nn.Linear):
    """The map behind the attention, whose bias starts at zero."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.zeros_(self.bias)


def sinusoids(positions: int, width: int) -> Tensor:
    """Position vectors `[positions, width]` (Vaswani et al. 2017, section 3.5): sines and cosines in turn."""
    frequencies = 10000.0 ** (-torch.arange(0, width, 2).double() / width)
    angles = torch.arange(positions).double()[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :width].to(torch.get_default_dtype())
