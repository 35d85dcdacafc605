"""The attention as batched matrix products over `[B, T, H]`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from inn.ops.derivatives import again
from inn.ops.tensors import shares
from inn.system.errors import InputError


def neuron_attention_torch(
    q: Tensor, k: Tensor, v: Tensor, edges: Tensor | None = None, dropout: float = 0.0, want_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """See `neuron_attention_reference` for shapes and types; the results are the same."""
    q, k, v = (a.transpose(2, 3) for a in (q, k, v))  # [B, T, H, N, d]
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if edges is not None:
        edges = edges if edges.ndim == 2 else edges.unsqueeze(2)
        weights = shares(scores, edges)  # a neuron without any edge hears nothing
    else:
        weights = scores.softmax(-1)
    used = F.dropout(weights, dropout) if dropout else weights
    return (used @ v).transpose(2, 3), weights if want_weights else None


def again_attention(
    q: Tensor, k: Tensor, v: Tensor, heads: int, edges: Tensor | None, dropout: float, gradient: Tensor
) -> tuple[Tensor | None, ...]:
    """`again` for q, k and v `[B, T, N, H x d]`; raises `InputError` where a kernel has dropped weights."""
    if dropout:
        raise InputError(
            f"attention with dropout {dropout} has no second derivative here; "
            "set the dropout to 0, or run under inn.ops.use_backend('torch')"
        )

    def run(*given: Tensor) -> Tensor:
        q, k, v = (t.unflatten(3, (heads, -1)) for t in given)
        return neuron_attention_torch(q, k, v, edges)[0].flatten(3)

    return again(run, (q, k, v), (gradient,))
