"""The scan in C++ (`inn/ops/cpu/scan.cpp`): its operators' shapes and gradients, and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import refuse, run
from inn.ops.derivatives import again, beyond
from inn.ops.scan.reference import selective_scan_reference
from inn.ops.tensors import keeps, rows

_LANES = 32  # channels in a block of kept states: L in scan.h


def selective_scan_cpu(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `selective_scan_reference` for shapes and types; the results are the same.

    Only the last axis has to be dense; y and the gradients are laid out like x. For the backward pass the state is
    kept every 64 steps (more with more than 16 states, so that what is kept does not grow with them).
    """
    period = 0
    if keeps(x, dt, A, B, C, D, z, state):
        period = 64 * -(-A.shape[-1] // 16)
    y, last, _ = run(torch.ops.inn.selective_scan_fwd, x, dt, A, B, C, D, z, state, reset, mask, period)
    return y, last


def refuses(x, dt, A, B, C, D, z, state, reset=None, mask=None) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    return refuse((x, dt, B, C, z), (A, D, state)) or why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::selective_scan_fwd", _forward_shapes)
    torch.library.register_fake("inn::selective_scan_bwd", _backward_shapes)
    torch.library.register_autograd("inn::selective_scan_fwd", _backward, setup_context=_save)


def _forward_shapes(x, dt, A, B, C, D, z, state, reset, mask, period):
    batch, time, neurons, channels = x.shape
    kept = (batch, neurons, (time - 1) // period if period else 0, -(-channels // _LANES), A.shape[-1], _LANES)
    return (
        torch.empty_like(rows(x)),
        state.new_empty(state.shape, dtype=torch.float32),
        state.new_empty(kept, dtype=torch.float32),
    )


def _backward_shapes(gy, glast, x, dt, A, B, C, D, z, state, reset, mask, kept, period):
    dense = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (A, D, state))
    gA, gD, gstate = dense
    gx, gdt, gB, gC, gz = (torch.empty_like(rows(t)) for t in (x, dt, B, C, z))
    return gx, gdt, gA, gB, gC, gD, gz, gstate


def _save(ctx, inputs, output):
    *tensors, period = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.period = period
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[2])


def _backward(ctx, gy, glast, _):
    *tensors, kept = ctx.saved_tensors
    if beyond(gy, glast) or not ctx.period:
        return *again(selective_scan_reference, tensors, (gy, glast)), None
    if gy is None:
        gy = torch.zeros_like(tensors[0])
    gradients = torch.ops.inn.selective_scan_bwd(gy.to(tensors[0].dtype), glast, *tensors, kept, ctx.period)
    return *gradients, None, None, None
