"""Listed edges in Triton (kernels in `triton_kernels.py`): operators, their gradients, and when they can be used."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from inn.ops import gpu
from inn.ops.derivatives import again, beyond
from inn.ops.neighbours.mix import by_head, scores_by_head
from inn.ops.neighbours.torch import again_attention, again_sum

_MAX_WIDTH = 256


def neighbour_attention_triton(
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
    heads, flat = q.shape[3], (t.flatten(3) for t in (q, k, v))
    keep = gpu.keeps(q, k, v, *(() if log_weights is None else (log_weights,)))
    op = torch.ops.inn.triton_neighbour_attention_fwd
    out, _, weights = op(*flat, heads, sources, open, signs, log_weights, present, keep, want_weights)
    return out.unflatten(3, (heads, -1)), weights if want_weights else None


def refuses_attention(
    q, k, v, sources, open, signs=None, log_weights=None, present=None, dropout=0.0, want_weights=False
) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    if dropout:
        return "drops no routing weights"
    floats = () if log_weights is None else (log_weights,)
    if want_weights and gpu.needs_gradient(q, k, v, *floats):
        return "hands back routing weights without a gradient only"
    if q.dtype != k.dtype or q.dtype != v.dtype:
        return f"takes queries, keys and values of one type, not {q.dtype}, {k.dtype} and {v.dtype}"
    return _too_wide(q.shape[4]) or gpu.refuse((q, k, v), floats)


def neighbour_sum_triton(v: Tensor, weights: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """See `neighbour_sum_reference` for shapes and types; the results are the same."""
    if weights.ndim == 2:
        return torch.ops.inn.triton_neighbour_sum_fwd(v, weights, sources, open)
    return torch.ops.inn.triton_neighbour_mix(v.flatten(3), weights, sources, open).unflatten(3, v.shape[3:])


def refuses_sum(v, weights, sources, open) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    return _too_wide(v.shape[-1]) or gpu.refuse((v,), (weights,))


def neighbour_scores_triton(q: Tensor, k: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """See `neighbour_scores_reference` for shapes and types; the results are the same."""
    return torch.ops.inn.triton_neighbour_scores(q.flatten(3), k.flatten(3), q.shape[3], sources, open)


def refuses_scores(q, k, sources, open) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    if q.dtype != k.dtype:
        return f"takes queries and keys of one type, not {q.dtype} and {k.dtype}"
    return _too_wide(q.shape[4]) or gpu.refuse((q, k))


def _too_wide(width: int) -> str | None:
    return f"takes heads up to {_MAX_WIDTH} wide, not {width}" if width > _MAX_WIDTH else None


def factors_of(open: Tensor, signs: Tensor | None) -> Tensor:
    """`[N, K]` float32: the signs, 0 over a closed edge."""
    return open.float() if signs is None else open.float() * signs


def by_source(sources: Tensor, open: Tensor, neurons: int) -> tuple[Tensor, Tensor]:
    """`starts` `[N + 1]` and `order`: the open edges of source j are those from `starts[j]` to `starts[j + 1]`."""
    ends, order = torch.where(open, sources, neurons).flatten().sort(stable=True)
    return torch.searchsorted(ends, torch.arange(neurons + 1, device=ends.device)), order


def _blocks(count: int, width: int) -> dict[str, Any]:
    """A tile of about 1,024 numbers, 8 to a lane, of `count` neurons or steps."""
    padded = gpu.power_of_two(width)
    block = max(1, min(128, 1024 // padded, gpu.power_of_two(count)))
    return {"BLOCK": block, "DP": padded, "num_warps": max(1, min(4, block * padded // 256)), "num_stages": 1}


def _run(
    kernel: Any, heads: int, pointers: tuple, streams: tuple[Tensor, ...], degree: int, *scale: float,
    apart: tuple = (), by_steps: bool = False,
) -> None:  # fmt: skip
    """A kernel over blocks of neurons, all steps and heads of `streams` `[B, T, N, H x d]`; or over blocks of steps."""
    batch, time, neurons, wide = streams[0].shape
    rows = batch * time
    blocks = _blocks(rows if by_steps else neurons, wide // heads)
    programs = heads * (neurons * -(-rows // blocks["BLOCK"]) if by_steps else rows * -(-neurons // blocks["BLOCK"]))
    sizes = (*((rows,) if by_steps else ()), time, neurons, degree, heads, wide // heads)
    strides = (s for t in streams for s in gpu.strides(t))
    gpu.launch(kernel, programs, *pointers, *strides, *apart, *sizes, *scale, **blocks)


_EDGES = "Tensor sources, Tensor open, Tensor? signs, Tensor? log_weights, Tensor? present"


@torch.library.custom_op(
    "inn::triton_neighbour_attention_fwd",
    mutates_args=(),
    schema=f"(Tensor q, Tensor k, Tensor v, int heads, {_EDGES}, bool keep, bool want_weights) -> "
    "(Tensor, Tensor, Tensor)",
)
def _attention(q, k, v, heads, sources, open, signs, log_weights, present, keep, want_weights):
    from inn.ops.neighbours.triton_kernels import neighbours_forward

    q, k, v, given = *_streams(q, k, v), _given(q, sources, open, signs, log_weights, present)
    out, lse, weights = _attention_shapes(
        q, k, v, heads, sources, open, signs, log_weights, present, keep, want_weights
    )
    pointers = (q, k, v, *given, out, lse if keep else None, weights if want_weights else None)
    _run(neighbours_forward, heads, pointers, (q, k, v, out), sources.shape[1], _scale(q, heads))
    return out, lse, weights


@_attention.register_fake
def _attention_shapes(q, k, v, heads, sources, open, signs, log_weights, present, keep, want_weights):
    batch, time, neurons, _ = q.shape
    lse = q.new_empty((batch, time, heads, neurons) if keep else (0,), dtype=torch.float32)
    shape = (batch if want_weights else 0, time, heads, *sources.shape)
    return torch.empty_like(gpu.rows(q)), lse, q.new_empty(shape, dtype=torch.float32)


def _streams(*streams: Tensor) -> tuple[Tensor, ...]:
    gpu.expect(streams[0].shape, **{f"stream {i}": t for i, t in enumerate(streams)})
    return tuple(map(gpu.rows, streams))


def _given(q, sources, open, signs, log_weights, present):
    """What the kernels read of the edges: sources, factors, log-weights, and who is there."""
    shape = (q.shape[2], sources.shape[1])
    gpu.expect(shape, sources=sources, open=open, signs=signs, log_weights=log_weights)
    gpu.expect(q.shape[:3], present=present)
    log_weights = None if log_weights is None else gpu.floats(log_weights)
    return sources.contiguous(), factors_of(open, signs).contiguous(), log_weights, gpu.flags(present)


def _scale(q: Tensor, heads: int) -> float:
    return math.log2(math.e) / math.sqrt(q.shape[3] // heads)


@torch.library.custom_op(
    "inn::triton_neighbour_attention_bwd",
    mutates_args=(),
    schema=f"(Tensor gout, Tensor q, Tensor k, Tensor v, int heads, {_EDGES}, Tensor out, Tensor lse) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
)
def _attention_back(gout, q, k, v, heads, sources, open, signs, log_weights, present, out, lse):
    from inn.ops.neighbours import triton_kernels as kernels

    q, k, v, gout, out = _streams(q, k, v, gout, out)
    sources_, factors, logs, there = _given(q, sources, open, signs, log_weights, present)
    gq, gk, gv, _ = _attention_back_shapes(gout, q, k, v, heads, sources, open, signs, log_weights, present, out, lse)
    delta, degree, scale = torch.empty_like(lse), sources.shape[1], _scale(q, heads)
    by_step = None if logs is None else torch.empty((*lse.shape, degree), dtype=torch.float32, device=q.device)
    pointers = (gout, q, k, v, sources_, factors, logs, there, out, lse, gq, delta, by_step)
    _run(kernels.neighbours_backward_queries, heads, pointers, (gout, q, k, v, out, gq), degree, scale)
    pointers = (gout, q, k, v, *by_source(sources, open, q.shape[2]), factors, logs, there, lse, delta, gk, gv)
    _run(kernels.neighbours_backward_keys, heads, pointers, (gout, q, k, v, gk, gv), degree, scale, by_steps=True)
    none = q.new_empty((0, *sources.shape), dtype=torch.float32)
    return gq, gk, gv, none if by_step is None else by_step.sum((0, 1, 2)).to(log_weights.dtype)


@_attention_back.register_fake
def _attention_back_shapes(gout, q, k, v, heads, sources, open, signs, log_weights, present, out, lse):
    none = q.new_empty((0, *sources.shape), dtype=torch.float32)
    glog = none if log_weights is None else torch.empty_like(log_weights, memory_format=torch.contiguous_format)
    return *(torch.empty_like(gpu.rows(t)) for t in (q, k, v)), glog


def _save_attention(ctx, inputs, output):
    *given, _, _ = inputs
    ctx.heads = given.pop(3)
    ctx.save_for_backward(*given, *output[:2])
    ctx.mark_non_differentiable(*output[1:])


def _attention_gradients(ctx, gout, *_):
    *given, out, lse = ctx.saved_tensors
    q, k, v, sources, open, signs, log_weights, present = given
    if beyond(gout) or not lse.numel():
        gq, gk, gv, _, _, gsigns, glog, _ = again_attention(tuple(given), ctx.heads, gout)
    else:
        gsigns = None
        gq, gk, gv, glog = torch.ops.inn.triton_neighbour_attention_bwd(
            gout.to(q.dtype), q, k, v, ctx.heads, sources, open, signs, log_weights, present, out, lse
        )
    return gq, gk, gv, None, None, None, gsigns, glog if log_weights is not None else None, None, None, None


_attention.register_autograd(_attention_gradients, setup_context=_save_attention)


def _along(v: Tensor, weights: Tensor, sources: Tensor, open: Tensor, back: bool) -> Tensor:
    """Sums by weights `[N, K]`, or `[B, T, H, N, K]`; or what sources are told of them."""
    from inn.ops.neighbours import triton_kernels as kernels

    (v,) = _streams(v)
    out, weights = torch.empty_like(v), gpu.floats(weights)
    gpu.expect((v.shape[2], sources.shape[1]), sources=sources, open=open)
    heads, apart = 1, (0, 0)
    if weights.ndim > 2:
        heads, each = weights.shape[2], sources.numel()
        gpu.expect((*v.shape[:2], heads, *sources.shape), weights=weights)
        apart = (heads * each, each)
    if back:
        kernel, edges = kernels.spread, by_source(sources, open, v.shape[2])
    else:
        kernel, edges = kernels.mix, (sources.contiguous(), factors_of(open, None).contiguous())
    _run(kernel, heads, (v, weights, *edges, out), (v, out), sources.shape[1], apart=apart, by_steps=back)
    return out


def _sums(name: str, back: bool):
    schema = "(Tensor v, Tensor weights, Tensor sources, Tensor open) -> Tensor"
    op = torch.library.custom_op(
        f"inn::triton_neighbour_{name}",
        lambda v, weights, sources, open: _along(v, weights, sources, open, back),
        mutates_args=(), schema=schema,
    )  # fmt: skip
    op.register_fake(lambda v, *_: torch.empty_like(gpu.rows(v)))
    return op


_sum, _mix, _spread = _sums("sum_fwd", False), _sums("mix", False), _sums("spread", True)


@torch.library.custom_op(
    "inn::triton_neighbour_scores",
    mutates_args=(),
    schema="(Tensor q, Tensor k, int heads, Tensor sources, Tensor open) -> Tensor",
)
def _scores(q, k, heads, sources, open):
    from inn.ops.neighbours.triton_kernels import scores

    q, k = _streams(q, k)
    found = _scores_shape(q, k, heads, sources, open)
    listed, factors, *_ = _given(q, sources, open, None, None, None)
    _run(scores, heads, (q, k, listed, factors, found), (q, k), sources.shape[1])
    return found


@_scores.register_fake
def _scores_shape(q, k, heads, sources, open):
    return q.new_empty((*q.shape[:2], heads, *sources.shape), dtype=torch.float32)


def _save(ctx, inputs, output):
    ctx.save_for_backward(*(t for t in inputs if isinstance(t, Tensor)))
    ctx.heads = inputs[2] if isinstance(inputs[2], int) else 0


def _sum_gradients(ctx, g):
    v, weights, *edges = given = ctx.saved_tensors
    heads = 1 if weights.ndim == 2 else weights.shape[2]
    if beyond(g):
        return again_sum(given, g) if weights.ndim == 2 else again(by_head(heads), given, (g,))
    g, told, change = g.to(v.dtype), None, None
    if ctx.needs_input_grad[0]:
        told = torch.ops.inn.triton_neighbour_spread(g, weights, *edges)
    if ctx.needs_input_grad[1]:
        change = torch.ops.inn.triton_neighbour_scores(g, v, heads, *edges)
        change = (change.sum((0, 1, 2)) if weights.ndim == 2 else change).to(weights.dtype)
    return told, change, None, None


def _scores_gradients(ctx, g):
    q, k, *edges = given = ctx.saved_tensors
    if beyond(g):
        gq, gk, *_ = again(scores_by_head(ctx.heads), given, (g,))
    else:
        gq = torch.ops.inn.triton_neighbour_mix(k, g, *edges)
        gk = torch.ops.inn.triton_neighbour_spread(q, g, *edges)
    return gq, gk, None, None, None


_sum.register_autograd(_sum_gradients, setup_context=_save)
_mix.register_autograd(_sum_gradients, setup_context=_save)
_scores.register_autograd(_scores_gradients, setup_context=_save)
