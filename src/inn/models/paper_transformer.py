"""The paper's Transformer: PyTorch's encoder layers (post-norm, ReLU), sinusoidal positions, causal mask."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.rivals import PaperTransformerConfig
from inn.models.common import Head, symbol_embedding
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
            nn.TransformerEncoderLayer(c.width, c.heads, c.hidden, c.dropout, batch_first=True) for _ in range(c.layers)
        )
        self.head = Head(c.vocab, c.width, tied=True, bias=True)
        self.register_buffer("waves", sinusoids(c.window, c.width), persistent=False)
        self.waves: Tensor

    def encode(
        self, tokens: Tensor, plan: Plan, caches: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        x, joined = self.embedding(tokens) + self.waves[plan.positions], []
        for layer, cache in zip(self.layers, caches, strict=True):
            assert isinstance(layer, nn.TransformerEncoderLayer)
            x, kept = run_layer(layer, x, plan, cache)
            joined.append(kept)
        return self.head(x, self.embedding), joined

    def flops(self) -> dict[str, float]:
        """Matrix products, and attention to half a block: a symbol sees (window + 1) / 2 keys on average."""
        c = self.config
        return {
            "projections": 2.0 * c.layers * 4 * c.width**2,
            "attention": 2.0 * c.layers * 2 * (c.window + 1) / 2 * c.width,
            "feedforward": 2.0 * c.layers * 2 * c.width * c.hidden,
            "head": 2.0 * c.vocab * c.width,
        }


def run_layer(
    layer: nn.TransformerEncoderLayer, x: Tensor, plan: Plan, cache: tuple[Tensor, Tensor]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """What `layer(x)` computes with a causal mask, except that keys and values of earlier calls come from a cache.

    The layer's own `forward` takes queries and keys from the same tensor, so its parts are called one by one here.
    """
    attention = layer.self_attn
    q, k, v = project(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    k, v = plan.join(cache[0], k), plan.join(cache[1], v)
    qh, kh, vh = (split_heads(t, attention.num_heads) for t in (q, k, v))
    y = attend(qh, kh, vh, plan, dropout=attention.dropout if layer.training else 0.0)
    x = layer.norm1(x + layer.dropout1(attention.out_proj(y)))
    y = layer.linear2(layer.dropout(F.relu(layer.linear1(x))))
    return layer.norm2(x + layer.dropout2(y)), (k, v)


def sinusoids(positions: int, width: int) -> Tensor:
    """Position vectors `[positions, width]` (Vaswani et al. 2017, section 3.5): sines and cosines in turn."""
    frequencies = 10000.0 ** (-torch.arange(0, width, 2).double() / width)
    angles = torch.arange(positions).double()[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :width].to(torch.get_default_dtype())
