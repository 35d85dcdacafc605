"""The attention in C++ (`inn/ops/cpu/attention.cpp`): its operators' shapes and gradients, and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.attention.torch import again_attention
from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import refuse, run
from inn.ops.derivatives import beyond
from inn.ops.tensors import needs_gradient


def neuron_attention_cpu(
    q: Tensor, k: Tensor, v: Tensor, edges: Tensor | None = None, dropout: float = 0.0, want_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """See `neuron_attention_reference` for shapes and types; the results are the same, but for the random choice of
    what dropout drops: a hash of one random number and the place of the weight, which the backward pass makes again.
    """
    seed = torch.randint(2**62, ()) if dropout else None
    heads = q.shape[3]
    op, flat = torch.ops.inn.neuron_attention_fwd, (t.flatten(3) for t in (q, k, v))
    out, weights = run(op, *flat, heads, edges, dropout, seed, want_weights)
    return out.unflatten(3, (heads, -1)), weights.to(q.dtype) if want_weights else None


def refuses(q, k, v, edges=None, dropout=0.0, want_weights=False) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if want_weights and needs_gradient(q, k, v):
        return "hands back routing weights without a gradient only"
    if edges is not None and edges.ndim > 2:
        return "takes the same edges at all steps"
    return refuse((q, k, v), ()) or why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::neuron_attention_fwd", _forward_shapes)
    torch.library.register_fake("inn::neuron_attention_bwd", _backward_shapes)
    torch.library.register_autograd("inn::neuron_attention_fwd", _backward, setup_context=_save)


def _forward_shapes(q, k, v, heads, edges, dropout, seed, want_weights):
    batch, time, neurons = q.shape[:3]
    weights = q.new_empty(batch if want_weights else 0, time, heads, neurons, neurons, dtype=torch.float32)
    return torch.empty_like(q), weights


def _backward_shapes(gout, q, k, v, heads, edges, dropout, seed):
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _save(ctx, inputs, output):
    q, k, v, ctx.heads, edges, ctx.dropout, seed, _ = inputs
    ctx.save_for_backward(q, k, v, edges, seed)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, gout, _):
    q, k, v, edges, seed = ctx.saved_tensors
    if beyond(gout):
        return *again_attention(q, k, v, ctx.heads, edges, ctx.dropout, gout), None, None, None, None, None
    gout = gout.to(q.dtype)
    gradients = torch.ops.inn.neuron_attention_bwd(gout, q, k, v, ctx.heads, edges, ctx.dropout, seed)
    return *gradients, None, None, None, None, None
