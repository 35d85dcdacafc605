"""The attention in C++ (`inn/ops/cpu/attention.cpp`): its operators' shapes and gradients, and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.cpu.library import why_not
from inn.ops.cpu.tensors import refuse


def neuron_attention_cpu(
    q: Tensor, k: Tensor, v: Tensor, edges: Tensor | None = None, dropout: float = 0.0, want_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """See `neuron_attention_reference` for shapes and types; the results are the same, but for the random choice of
    what dropout drops: a hash of one random number and the place of the weight, which the backward pass makes again.
    """
    seed = int(torch.randint(2**62, ())) if dropout else 0
    heads = q.shape[3]
    out = torch.ops.inn.neuron_attention_fwd(q.flatten(3), k.flatten(3), v.flatten(3), heads, edges, dropout, seed)
    return out.unflatten(3, (heads, -1)), None


def refuses(q, k, v, edges=None, dropout=0.0, want_weights=False) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if want_weights:
        return "does not hand back routing weights"
    return refuse((q, k, v), ()) or why_not()


def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::neuron_attention_fwd", _forward_shapes)
    torch.library.register_fake("inn::neuron_attention_bwd", _backward_shapes)
    torch.library.register_autograd("inn::neuron_attention_fwd", _backward, setup_context=_save)


def _forward_shapes(q, k, v, heads, edges, dropout, seed):
    return torch.empty_like(q)


def _backward_shapes(gout, q, k, v, heads, edges, dropout, seed):
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _save(ctx, inputs, output):
    q, k, v, ctx.heads, edges, ctx.dropout, ctx.seed = inputs
    ctx.save_for_backward(q, k, v, edges)


def _backward(ctx, gout):
    q, k, v, edges = ctx.saved_tensors
    gout = gout.to(q.dtype)
    gradients = torch.ops.inn.neuron_attention_bwd(gout, q, k, v, ctx.heads, edges, ctx.dropout, ctx.seed)
    return *gradients, None, None, None, None
