"""The delta rule in C++ (`inn/ops/cpu/delta.cpp`): its operators' shapes and gradients, and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import refuse, run
from inn.ops.delta.reference import delta_scan_reference
from inn.ops.derivatives import again, beyond
from inn.ops.tensors import keeps, rows

PERIOD = 64
"""Steps between two states that are kept for the backward pass."""


def delta_scan_cpu(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    beta: Tensor | None,
    state: Tensor,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `delta_scan_reference` for shapes and types; the results are the same.

    Only the last axis has to be dense; y and the gradients are laid out like what they belong to.
    """
    given = [t for t in (q, k, v, decay, beta, state) if t is not None]
    y, last, _ = run(torch.ops.inn.delta_scan_fwd, q, k, v, decay, beta, state, reset, mask, PERIOD * keeps(*given))
    return y, last


def refuses(q, k, v, decay, beta, state, reset=None, mask=None) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    streams = (v, q, k, decay) if beta is None else (v, q, k, decay, beta)
    return refuse(streams, (state,)) or why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::delta_scan_fwd", _forward_shapes)
    torch.library.register_fake("inn::delta_scan_bwd", _backward_shapes)
    torch.library.register_autograd("inn::delta_scan_fwd", _backward, setup_context=_save)


def _forward_shapes(q, k, v, decay, beta, state, reset, mask, period):
    kept = (v.shape[1] - 1) // period if period else 0
    return (
        torch.empty_like(rows(v)),
        state.new_empty(state.shape, dtype=torch.float32),
        state.new_empty((*state.shape[:2], kept, *state.shape[2:]), dtype=torch.float32),
    )


def _backward_shapes(gy, glast, q, k, v, decay, beta, state, reset, mask, kept, period):
    streams = (torch.empty_like(rows(t)) for t in (q, k, v, decay))
    gbeta = v.new_empty(0) if beta is None else torch.empty_like(rows(beta))
    return *streams, gbeta, torch.empty_like(state, memory_format=torch.contiguous_format)


def _save(ctx, inputs, output):
    *tensors, period = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.period = period
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[2])


def _backward(ctx, gy, glast, _):
    *tensors, kept = ctx.saved_tensors
    if beyond(gy, glast) or not ctx.period:
        return *again(delta_scan_reference, tensors, (gy, glast)), None
    v, beta = tensors[2], tensors[4]
    gy = torch.zeros_like(v) if gy is None else gy.to(v.dtype)
    *streams, gbeta, gstate = torch.ops.inn.delta_scan_bwd(gy, glast, *tensors, kept, ctx.period)
    return *streams, None if beta is None else gbeta, gstate, None, None, None
