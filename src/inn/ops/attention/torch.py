"""The attention as batched matrix products over `[B, T, H]`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def neuron_attention_torch(
    q: Tensor, k: Tensor, v: Tensor, edges: Tensor | None = None, dropout: float = 0.0, want_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """See `neuron_attention_reference` for shapes and types; the results are the same."""
    q, k, v = (a.transpose(2, 3) for a in (q, k, v))  # [B, T, H, N, d]
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if edges is not None:
        scores = scores.masked_fill(~edges, float("-inf"))
        # A neuron without any edge hears nothing. Its scores are made finite first: a softmax over nothing
        # would be NaN, and so would its gradient.
        deaf = ~edges.any(-1)[:, None]
        weights = scores.masked_fill(deaf, 0.0).softmax(-1).masked_fill(deaf, 0.0)
    else:
        weights = scores.softmax(-1)
    used = F.dropout(weights, dropout) if dropout else weights
    return (used @ v).transpose(2, 3), weights if want_weights else None
