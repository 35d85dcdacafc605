"""What neurons hear along listed edges by PyTorch's own operations, one listed source of all neurons at a time.

No tensor holds what comes over every edge, `[B, T, N, K, D]`; where a gradient is wanted, PyTorch keeps that in parts.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.ops.derivatives import again
from inn.ops.neighbours.mix import mix_torch
from inn.ops.tensors import shares


def neighbour_attention_torch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sources: Tensor,
    open: Tensor,
    signs: Tensor | None = None,
    log_weights: Tensor | None = None,
    present: Tensor | None = None,
    dropout: float = 0.0,
    want_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """See `neighbour_attention_reference` for shapes and types; the results are the same."""
    every = sources.unbind(1)
    scores = torch.stack([(q * _from(k, e, open[:, i])).sum(-1) for i, e in enumerate(every)], -1)  # [B, T, N, H, K]
    scores = scores.float() if scores.dtype == torch.bfloat16 else scores
    scores = scores * q.shape[-1] ** -0.5
    scores = scores if log_weights is None else scores + log_weights[:, None]
    heard = open[:, None] if present is None else (open & present[:, :, sources]).unsqueeze(3)
    weights = shares(scores, heard)
    used = F.dropout(weights, dropout) if dropout else weights
    used = (used if signs is None else used * signs[:, None]).to(v.dtype)
    v = v if present is None else v.masked_fill(~present[..., None, None], 0.0)
    message = used[..., :1] * _from(v, every[0], open[:, 0])
    for i, e in enumerate(every[1:], 1):
        message = message + used[..., i, None] * _from(v, e, open[:, i])
    return message, weights.transpose(2, 3) if want_weights else None


def neighbour_sum_torch(v: Tensor, weights: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """See `neighbour_sum_reference` for shapes and types; the results are the same."""
    if weights.ndim > 2:
        return mix_torch(v, weights, sources, open)
    weights = weights.to(v.dtype)[..., None]
    message = weights[:, 0] * _from(v, sources[:, 0], open[:, 0])
    for e in range(1, sources.shape[1]):
        message = message + weights[:, e] * _from(v, sources[:, e], open[:, e])
    return message


def again_attention(given: tuple, heads: int, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """`again` for q, k, v `[B, T, N, H x d]`, sources, open, signs, log_weights and present."""

    def run(q: Tensor, k: Tensor, v: Tensor, *edges: Any) -> Tensor:
        q, k, v = (t.unflatten(3, (heads, -1)) for t in (q, k, v))
        return neighbour_attention_torch(q, k, v, *edges)[0].flatten(3)

    return again(run, given, (gradient,))


def again_sum(given: tuple[Tensor, ...], gradient: Tensor) -> tuple[Tensor | None, ...]:
    """`again` for v, weights, sources and open."""
    return again(neighbour_sum_torch, given, (gradient,))


def _from(values: Tensor, listed: Tensor, open: Tensor) -> Tensor:
    """What a source of each neuron sends, `[B, T, N, ...]`; zero, not NaN, where the edge is closed."""
    arriving = values.index_select(2, listed)
    return arriving.masked_fill(~open.view(-1, *(1,) * (values.ndim - 3)), 0.0)
