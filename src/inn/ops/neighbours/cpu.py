"""Listed edges in C++ (`inn/ops/cpu/neighbours.cpp`): the operators' shapes and gradients, and when they can run."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import refuse, run
from inn.ops.derivatives import beyond
from inn.ops.neighbours.mix import mix_cpu
from inn.ops.neighbours.torch import again_attention, again_sum
from inn.ops.tensors import needs_gradient


def neighbour_attention_cpu(
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
    heads = q.shape[3]
    op, flat = torch.ops.inn.neighbour_attention_fwd, (t.flatten(3) for t in (q, k, v))
    out, weights = run(op, *flat, heads, sources, open, signs, log_weights, present, want_weights)
    return out.unflatten(3, (heads, -1)), weights if want_weights else None


def refuses_attention(
    q, k, v, sources, open, signs=None, log_weights=None, present=None, dropout=0.0, want_weights=False
) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if dropout:
        return "drops no routing weights"
    if want_weights and needs_gradient(q, k, v, *(() if log_weights is None else (log_weights,))):
        return "hands back routing weights without a gradient only"
    if q.shape[2] != k.shape[2]:
        return "takes as many neurons that send as neurons that listen"
    if q.dtype != k.dtype or q.dtype != v.dtype:
        return f"takes queries, keys and values of one type, not {q.dtype}, {k.dtype} and {v.dtype}"
    return refuse((q, k, v), () if log_weights is None else (log_weights,)) or why_not()


def neighbour_sum_cpu(v: Tensor, weights: Tensor, sources: Tensor, open: Tensor) -> Tensor:
    """See `neighbour_sum_reference` for shapes and types; the results are the same."""
    if weights.ndim > 2:
        return mix_cpu(v, weights, sources, open)
    return run(torch.ops.inn.neighbour_sum_fwd, v, weights, sources, open)


def refuses_sum(v, weights, sources, open) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if v.shape[2] != len(sources):
        return "takes as many neurons that send as neurons that listen"
    return refuse((v,), (weights,)) or why_not()


def refuses_scores(q, k, sources, open) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if q.dtype != k.dtype:
        return f"takes queries and keys of one type, not {q.dtype} and {k.dtype}"
    return refuse((q, k), ()) or why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::neighbour_attention_fwd", _attention_shapes)
    torch.library.register_fake("inn::neighbour_attention_bwd", _attention_gradients)
    torch.library.register_autograd("inn::neighbour_attention_fwd", _attention_backward, setup_context=_save_attention)
    torch.library.register_fake("inn::neighbour_sum_fwd", lambda v, *_: _like(v))
    torch.library.register_fake("inn::neighbour_sum_bwd", _sum_gradients)
    torch.library.register_autograd("inn::neighbour_sum_fwd", _sum_backward, setup_context=_save_sum)


def _like(t: Tensor) -> Tensor:
    return torch.empty_like(t if t.shape[-1] == 1 or t.stride(-1) == 1 else t.contiguous())


def _attention_shapes(q, k, v, heads, sources, open, signs, log_weights, present, want_weights):
    batch, time = q.shape[:2]
    shape = (batch if want_weights else 0, time, heads, *sources.shape)
    return _like(q), q.new_empty(shape, dtype=torch.float32)


def _attention_gradients(gout, q, k, v, heads, sources, open, signs, log_weights, present):
    none = q.new_empty((0, *sources.shape), dtype=torch.float32)
    return _like(q), _like(k), _like(v), none if log_weights is None else torch.empty_like(log_weights)


def _save_attention(ctx, inputs, output):
    q, k, v, ctx.heads, *edges, _ = inputs
    ctx.save_for_backward(q, k, v, *edges)
    ctx.mark_non_differentiable(output[1])


def _attention_backward(ctx, gout, _):
    q, k, v, sources, open, signs, log_weights, present = ctx.saved_tensors
    if beyond(gout):
        gq, gk, gv, _, _, gsigns, glog, _ = again_attention(ctx.saved_tensors, ctx.heads, gout)
        return gq, gk, gv, None, None, None, gsigns, glog, None, None
    gq, gk, gv, glog = torch.ops.inn.neighbour_attention_bwd(
        gout.to(q.dtype), q, k, v, ctx.heads, sources, open, signs, log_weights, present
    )
    return gq, gk, gv, None, None, None, None, None if log_weights is None else glog, None, None


def _sum_gradients(gout, v, weights, sources, open, wanted):
    none = v.new_empty((0, *sources.shape), dtype=torch.float32)
    return _like(v), torch.empty_like(weights) if wanted else none


def _save_sum(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _sum_backward(ctx, gout):
    v, weights, sources, open = ctx.saved_tensors
    if beyond(gout):
        gv, gweights, _, _ = again_sum(ctx.saved_tensors, gout)
        return gv, gweights, None, None
    wanted = ctx.needs_input_grad[1]
    gv, gweights = torch.ops.inn.neighbour_sum_bwd(gout.to(v.dtype), v, weights, sources, open, wanted)
    return gv, gweights if wanted else None, None, None
