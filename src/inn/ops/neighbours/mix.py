"""Sums and scores along listed edges by numbers that differ from step to step, `[B, T, H, N, K]`.

Mix, spread and scores are three faces of one product: each is the gradient of the others. Nothing keeps what comes over
every edge, `[B, T, N, K, D]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded
from inn.ops.cpu.tensors import run
from inn.ops.derivatives import again, beyond, transformed
from inn.ops.tensors import rows


def mix_torch(v: Tensor, weights: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """o_i = Σ_e w_ie v_s(i, e), of `v` `[B, T, N, H, d]`."""
    if transformed() or torch.compiler.is_exporting():
        return _mix(v, weights, sources, open)
    return _Mix.apply(v, weights, sources, open)


def scores_torch(q: Tensor, k: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """See `neighbour_scores_reference` for shapes and types; the results are the same."""
    if transformed() or torch.compiler.is_exporting():
        return _scores(q, k, sources, open)
    return _Scores.apply(q, k, sources, open)


def mix_cpu(v: Tensor, weights: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """As `mix_torch`."""
    return run(torch.ops.inn.neighbour_mix, v.flatten(3), weights, sources, open).unflatten(3, v.shape[3:])


def scores_cpu(q: Tensor, k: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """See `neighbour_scores_reference` for shapes and types; the results are the same."""
    return run(torch.ops.inn.neighbour_scores, q.flatten(3), k.flatten(3), q.shape[3], sources, open)


def _from(values: Tensor, e: int, sources: Tensor, open: Tensor) -> Tensor:
    """What neurons hear over their edge e, of `[B, T, N, H, d]`; zero, not NaN, where it is closed."""
    return values.index_select(2, sources[:, e]).masked_fill(~open[:, e, None, None], 0.0)


def _mix(v: Tensor, weights: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    factors = weights.to(v.dtype).transpose(2, 3)[..., None, :]  # [B, T, N, H, 1, K]
    total = factors[..., 0] * _from(v, 0, sources, open)
    for e in range(1, sources.shape[1]):
        total = total + factors[..., e] * _from(v, e, sources, open)
    return total


def _scores(q: Tensor, k: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    kind = torch.promote_types(q.dtype, torch.float32)
    each = ((q * _from(k, e, sources, open)).to(kind).sum(-1) for e in range(sources.shape[1]))
    return torch.stack(list(each), -1).transpose(2, 3)


def _spread(v: Tensor, weights: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """o_s(i, e) = Σ_ie w_ie v_i: what sources are told."""
    factors = (weights.to(v.dtype) * open).transpose(2, 3)[..., None, :]
    total = torch.zeros_like(v)
    for e in range(sources.shape[1]):
        total.index_add_(2, sources[:, e], factors[..., e] * v)
    return total


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        return _mix(*given)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        v, weights, *edges = given = ctx.saved_tensors
        if beyond(g):
            return again(_mix, given, (g,))
        return _spread(g, weights, *edges), _scores(g, v, *edges).to(weights.dtype), None, None


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        return _scores(*given)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        q, k, *edges = given = ctx.saved_tensors
        if beyond(g):
            return again(_scores, given, (g,))
        return _mix(k, g, *edges), _spread(q, g, *edges), None, None


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    for name in ("neighbour_mix", "neighbour_spread"):
        torch.library.register_fake(f"inn::{name}", lambda v, *_: torch.empty_like(rows(v)))
    torch.library.register_fake("inn::neighbour_scores", _shape)
    torch.library.register_autograd("inn::neighbour_mix", _mix_backward, setup_context=_save)
    torch.library.register_autograd("inn::neighbour_scores", _scores_backward, setup_context=_save)


def _shape(q, k, heads, sources, open):
    return q.new_empty((*q.shape[:2], heads, *sources.shape), dtype=torch.float32)


def by_head(heads: int) -> Callable[..., Tensor]:
    """The mix of `v` `[B, T, N, H x d]`, in operations that PyTorch can differentiate in any way."""
    return lambda v, *rest: _mix(v.unflatten(3, (heads, -1)), *rest).flatten(3)


def scores_by_head(heads: int) -> Callable[..., Tensor]:
    """The scores of `q` and `k` `[B, T, N, H x d]`, likewise."""
    return lambda q, k, *rest: _scores(*(t.unflatten(3, (heads, -1)) for t in (q, k)), *rest)


def _save(ctx, inputs, output):
    ctx.save_for_backward(*(t for t in inputs if isinstance(t, Tensor)))
    ctx.heads = inputs[2] if isinstance(inputs[2], int) else inputs[1].shape[2]


def _mix_backward(ctx, g):
    v, weights, *edges = given = ctx.saved_tensors
    if beyond(g):
        return again(by_head(ctx.heads), given, (g,))
    g = g.to(v.dtype)
    told = torch.ops.inn.neighbour_spread(g, weights, *edges) if ctx.needs_input_grad[0] else None
    return told, torch.ops.inn.neighbour_scores(g, v, ctx.heads, *edges).to(weights.dtype), None, None


def _scores_backward(ctx, g):
    q, k, *edges = given = ctx.saved_tensors
    if beyond(g):
        gq, gk, _, _ = again(scores_by_head(ctx.heads), given, (g,))
        return gq, gk, None, None, None
    gq, gk = torch.ops.inn.neighbour_mix(k, g, *edges), torch.ops.inn.neighbour_spread(q, g, *edges)
    return gq, gk, None, None, None
