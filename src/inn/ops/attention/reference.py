"""The attention neuron by neuron: the bar that every backend is held to."""

from __future__ import annotations

import torch
from torch import Tensor


def neuron_attention_reference(
    q: Tensor, k: Tensor, v: Tensor, edges: Tensor | None = None, dropout: float = 0.0, want_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Let every neuron attend to the neurons it has an edge from, at one time step.

    Args:
        q, k, v: `[B, T, N, H, d]` queries, keys and values by head.
        edges: `[N_to, N_from]` bool, the edges that may be used, or `[B, T, N_to, N_from]`, those of each step; None
            is the complete graph. A neuron without any gets a zero message.
        dropout: probability of dropping a routing weight (the kept ones are scaled up).
        want_weights: hand back the routing weights too.

    Returns:
        messages `[B, T, N, H, d]` and routing weights `[B, T, H, N_to, N_from]`, before dropout, or None.
    """
    neurons, width = q.shape[2], q.shape[-1]
    messages, rows = [], []
    for to in range(neurons):
        scores = (q[:, :, to, None] * k).sum(-1) / width**0.5  # [B, T, N, H]
        if edges is not None:
            scores = scores.masked_fill(~edges[..., to, :][..., None], float("-inf"))
        best = scores.amax(2, keepdim=True).clamp_min(torch.finfo(scores.dtype).min)
        weights = torch.exp(scores - best)
        total = weights.sum(2, keepdim=True)
        weights = weights / torch.where(total == 0, 1.0, total)
        rows.append(weights)
        used = torch.nn.functional.dropout(weights, dropout) if dropout else weights
        messages.append((used[..., None] * v).sum(2))
    weights = torch.stack(rows, dim=2).permute(0, 1, 4, 2, 3) if want_weights else None
    return torch.stack(messages, dim=2), weights
