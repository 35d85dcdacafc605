"""Packed steps in C++ (`inn/ops/cpu/packed_ops.h`): the operators' shapes and gradients, and when they can run."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.conv.cpu import _MAX_TAPS
from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import refuse, run
from inn.ops.derivatives import beyond
from inn.ops.packed.torch import again_attention, again_conv, again_scan
from inn.ops.tensors import keeps, rows


def packed_scan_cpu(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, state: Tensor, first: Tensor
) -> tuple[Tensor, Tensor]:
    """See `packed_scan_reference` for shapes and types; the results are the same."""
    period = 64 * -(-A.shape[-1] // 16) if keeps(x, dt, A, B, C, D, z, state) else 0
    y, last, _ = run(torch.ops.inn.packed_scan_fwd, x, dt, A, B, C, D, z, state, first, period)
    return y, last


def packed_conv_cpu(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """See `packed_conv_reference` for shapes and types; the results are the same."""
    return run(torch.ops.inn.packed_conv_fwd, x, weight, bias, state, first)


def packed_attention_cpu(q: Tensor, k: Tensor, v: Tensor, order: Tensor, first: Tensor, dropout: float = 0.0) -> Tensor:
    """See `packed_attention_reference` for shapes and types; the results are the same."""
    heads, flat = q.shape[1], (t.flatten(1) for t in (q, k, v))
    return run(torch.ops.inn.packed_attention_fwd, *flat, heads, order, first).unflatten(1, (heads, -1))


def refuses_attention(q, k, v, order, first, dropout=0.0) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if dropout:
        return "drops no routing weights"
    if q.dtype != k.dtype or q.dtype != v.dtype:
        return f"takes queries, keys and values of one type, not {q.dtype}, {k.dtype} and {v.dtype}"
    return refuse((q, k, v), ()) or _traced() or why_not()


def refuses_scan(x, dt, A, B, C, D, z, state, first) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    return refuse((x, dt, B, C, z), (A, D, state)) or _traced() or why_not()


def refuses_conv(x, weight, bias, state, first) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if weight.shape[-1] > _MAX_TAPS:
        return f"takes up to {_MAX_TAPS} taps, not {weight.shape[-1]}"
    return refuse((x,), (weight, bias, state)) or _traced() or why_not()


def _traced() -> str | None:
    return "is not compiled into graphs: how much it keeps is in the numbers" if torch.compiler.is_compiling() else None


@when_loaded
def register() -> None:
    """Tell PyTorch the gradients of the operators; once they are loaded."""
    torch.library.register_autograd("inn::packed_attention_fwd", _attention_backward, setup_context=_save_attention)
    torch.library.register_fake("inn::packed_conv_fwd", lambda x, w, b, state, *_: (_like(x), torch.empty_like(state)))
    torch.library.register_autograd("inn::packed_scan_fwd", _scan_backward, setup_context=_save_scan)
    torch.library.register_autograd("inn::packed_conv_fwd", _conv_backward, setup_context=_save_conv)


def _save_attention(ctx, inputs, output):
    *tensors, ctx.heads, order, first = inputs
    ctx.save_for_backward(*tensors, order, first)


def _attention_backward(ctx, gout):
    q, k, v, order, first = ctx.saved_tensors
    if beyond(gout):
        gq, gk, gv, _, _ = again_attention(ctx.saved_tensors, ctx.heads, gout)
    else:
        gq, gk, gv = torch.ops.inn.packed_attention_bwd(gout.to(q.dtype), q, k, v, ctx.heads, order, first)
    return gq, gk, gv, None, None, None


def _like(t: Tensor) -> Tensor:
    return torch.empty_like(rows(t))


def _save_scan(ctx, inputs, output):
    *tensors, ctx.period = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[2])


def _scan_backward(ctx, gy, glast, _):
    *tensors, kept = ctx.saved_tensors
    if beyond(gy, glast) or not ctx.period:
        return *again_scan((*tensors,), (gy, glast)), None
    gy = torch.zeros_like(tensors[0]) if gy is None else gy.to(tensors[0].dtype)
    return *torch.ops.inn.packed_scan_bwd(gy, glast, *tensors, kept, ctx.period), None, None


def _save_conv(ctx, inputs, output):
    ctx.save_for_backward(*inputs)
    ctx.set_materialize_grads(False)


def _conv_backward(ctx, gy, glast):
    tensors = ctx.saved_tensors
    if beyond(gy, glast):
        return again_conv(tensors, (gy, glast))
    gy = torch.zeros_like(tensors[0]) if gy is None else gy.to(tensors[0].dtype)
    return *torch.ops.inn.packed_conv_bwd(gy, glast, *tensors), None
