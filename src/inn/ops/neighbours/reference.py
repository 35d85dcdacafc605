"""What neurons hear along listed edges, neuron by neuron and edge by edge: the bar that every backend is held to."""

from __future__ import annotations

import torch
from torch import Tensor


def neighbour_attention_reference(
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
    """Let every neuron attend to its K listed sources, at one time step.

    Args:
        q, k, v: `[B, T, N, H, d]` queries, keys and values by head; of keys, values and `present` there may be more
            neurons than listen, which sources name.
        sources: `[N, K]` int64, the neurons that each neuron may hear.
        open: `[N, K]` bool, which of these edges are open. A neuron without any gets a zero message.
        signs: `[N, K]`, a factor on what comes over an edge; None for 1.
        log_weights: `[N, K]`, added to the logits of all heads; None for 0.
        present: `[B, T, N]` bool, which neurons are there: the others are not heard; None: all of them.
        dropout: probability of dropping a routing weight (the kept ones are scaled up).
        want_weights: hand back the routing weights too.

    Returns:
        messages `[B, T, N, H, d]` and routing weights `[B, T, H, N, K]`, before dropout and without signs, or None.
    """
    messages, rows = [], []
    for to, listed in enumerate(sources.tolist()):
        scores = []
        for e, source in enumerate(listed):
            score = (q[:, :, to] * k[:, :, source]).sum(-1) / q.shape[-1] ** 0.5  # [B, T, H]
            score = score if log_weights is None else score + log_weights[to, e]
            heard = open[to, e] if present is None else open[to, e] & present[:, :, source, None]
            scores.append(torch.where(heard, score, float("-inf")))
        logits = torch.stack(scores, -1)
        best = logits.amax(-1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
        weights = torch.exp(logits - best)
        total = weights.sum(-1, keepdim=True)
        weights = weights / torch.where(total == 0, 1.0, total)
        rows.append(weights)
        used = torch.nn.functional.dropout(weights, dropout) if dropout else weights
        message = torch.zeros_like(v[:, :, to])
        for e, source in enumerate(listed):
            if open[to, e]:
                there = v[:, :, source]
                there = there if present is None else there.masked_fill(~present[:, :, source, None, None], 0.0)
                sign = 1 if signs is None else signs[to, e]
                message = message + used[..., e, None] * sign * there
        messages.append(message)
    return torch.stack(messages, 2), torch.stack(rows, 3) if want_weights else None


def neighbour_sum_reference(v: Tensor, weights: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """Let every neuron hear a weighted sum of what its K listed sources send: y_i = Σ_e w_ie v_s(i, e).

    Args:
        v: `[B, T, N, D]` what the neurons send; `[B, T, N, H, d]` with weights by step.
        weights: `[N, K]`, the weights of the edges; or by step and head, `[B, T, H, N, K]`.
        sources: `[N, K]` int64, the neurons that each neuron may hear.
        open: `[N, K]` bool, which of these edges are open.

    Returns what `v` is, `[B, T, N, D]` or `[B, T, N, H, d]`.
    """
    messages = []
    for to, listed in enumerate(sources.tolist()):
        message = torch.zeros_like(v[:, :, to])
        for e, source in enumerate(listed):
            if open[to, e]:
                weight = weights[to, e] if weights.ndim == 2 else weights[..., to, e, None]
                message = message + weight.to(v.dtype) * v[:, :, source]
        messages.append(message)
    return torch.stack(messages, 2)


def neighbour_scores_reference(q: Tensor, k: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """How each neuron scores its K listed sources: q_i · k_s(i, e), 0 over a closed edge.

    Args:
        q, k: `[B, T, N, H, d]`.
        sources, open: `[N, K]`, as of `neighbour_sum_reference`.

    Returns `[B, T, H, N, K]`, in float32 at least.
    """
    kind = torch.promote_types(q.dtype, torch.float32)
    found = [
        (q[:, :, to] * k[:, :, source]).sum(-1).to(kind)
        if open[to, e]
        else torch.zeros(*q.shape[:2], q.shape[3], dtype=kind, device=q.device)
        for to, listed in enumerate(sources.tolist())
        for e, source in enumerate(listed)
    ]
    return torch.stack(found, -1).unflatten(-1, sources.shape)


def neighbour_messages_reference(
    x: Tensor, weight: Tensor, sources: Tensor, open: Tensor, signs: Tensor | None = None
) -> Tensor:
    """Let listeners hear what their K listed sources send, through a matrix for each: y_i = Σ_e R_ie x_s(i, e).

    Args:
        x: `[B, T, N, D]` what the neurons send.
        weight: `[P, I, K, D]`, the matrices of the edges; P is M, or 1 where all listeners share them.
        sources: `[M, K]` int64, the neurons that each listener may hear.
        open: `[M, K]` bool, which of these edges are open.
        signs: `[M, K]`, a factor on what comes over an edge; None for 1.

    Returns `[B, T, M, I]`.
    """
    messages = []
    for to, listed in enumerate(sources.tolist()):
        own = weight[to if weight.shape[0] > 1 else 0]
        message = x.new_zeros(*x.shape[:2], own.shape[0])
        for e, source in enumerate(listed):
            if open[to, e]:
                message = message + (1 if signs is None else signs[to, e]) * (x[:, :, source] @ own[:, e].T)
        messages.append(message)
    return torch.stack(messages, 2)
