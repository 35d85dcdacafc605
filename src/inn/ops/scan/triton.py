"""The scan in Triton (kernels in `triton_kernels.py`): its operators with their gradients, and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops import gpu
from inn.ops.derivatives import again, beyond
from inn.ops.scan.reference import selective_scan_reference

_MAX_STATES = 256
_STATES_PER_WARP = 512  # numbers of state that a backward program holds at a time: 16 to a lane
_STEPS = 2  # steps of the scan between two states that the backward pass keeps in scratch
_PROGRAMS = 8  # backward programs per multiprocessor: what fits its registers, and all their scratch the L2 cache


def selective_scan_triton(
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
    kept every 32 steps (more with more than 16 states, so that what is kept does not grow with them).
    """
    period = 32 * -(-A.shape[-1] // 16) if gpu.keeps(x, dt, A, B, C, D, z, state) else 0
    y, last, _ = torch.ops.inn.triton_selective_scan_fwd(x, dt, A, B, C, D, z, state, reset, mask, period)
    return y, last


def refuses(x, dt, A, B, C, D, z, state, reset=None, mask=None) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    if A.shape[-1] > _MAX_STATES:
        return f"takes up to {_MAX_STATES} states, not {A.shape[-1]}"
    return gpu.refuse((x, dt, B, C, z), (A, D, state))


def _keeps(time: int, period: int) -> int:
    return (time - 1) // period if period else 0


_INPUTS = (
    "Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor D, Tensor z, Tensor state, Tensor? reset, Tensor? mask"
)


@torch.library.custom_op(
    "inn::triton_selective_scan_fwd",
    mutates_args=(),
    schema=f"({_INPUTS}, int period) -> (Tensor, Tensor, Tensor)",
)
def _forward(x, dt, A, B, C, D, z, state, reset, mask, period):
    from inn.ops.scan.triton_kernels import scan_forward

    x, dt, B, C, z = (gpu.rows(t) for t in (x, dt, B, C, z))
    batch, time, neurons, channels = x.shape
    sets, _, states = A.shape
    gpu.expect(x.shape, dt=dt, z=z)
    gpu.expect((batch, time, neurons, states), B=B, C=C)
    gpu.expect((1 if sets == 1 else neurons, channels, states), A=A)
    gpu.expect((sets, channels), D=D)
    gpu.expect((batch, neurons, channels, states), state=state)
    gpu.expect((batch, time), reset=reset, mask=mask)
    y, last, kept = _forward_shapes(x, dt, A, B, C, D, z, state, reset, mask, period)
    padded = gpu.power_of_two(states)
    block = min(gpu.power_of_two(channels), max(1024 // padded, 1), 32)
    gpu.launch(
        scan_forward, batch * neurons * -(-channels // block),
        x, dt, gpu.floats(A), B, C, gpu.floats(D), z, gpu.floats(state), gpu.flags(reset), gpu.flags(mask),
        y, last, kept, *(s for t in (x, dt, B, C, z, y) for s in gpu.strides(t)),
        time, neurons, channels, _keeps(time, period),
        S=states, SHARED=sets == 1, PERIOD=period, SP=padded, BE=block, STEPS=min(4, gpu.power_of_two(time)),
        num_warps=1,
    )  # fmt: skip
    return y, last, kept


@_forward.register_fake
def _forward_shapes(x, dt, A, B, C, D, z, state, reset, mask, period):
    batch, time, neurons, channels = x.shape
    kept = (batch, neurons, _keeps(time, period), channels, A.shape[-1])
    return (
        torch.empty_like(gpu.rows(x)),
        state.new_empty(state.shape, dtype=torch.float32),
        state.new_empty(kept, dtype=torch.float32),
    )


@torch.library.custom_op(
    "inn::triton_selective_scan_bwd",
    mutates_args=(),
    schema=f"(Tensor gy, Tensor? glast, {_INPUTS}, Tensor kept, int period) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _backward(gy, glast, x, dt, A, B, C, D, z, state, reset, mask, kept, period):
    from inn.ops.scan.triton_kernels import scan_backward

    x, dt, B, C, z, gy = (gpu.rows(t) for t in (x, dt, B, C, z, gy))
    batch, time, neurons, channels = x.shape
    shared, states = A.shape[0] == 1, A.shape[-1]
    gx, gdt, gz = (torch.empty_like(t) for t in (x, dt, z))
    gstate = torch.empty(state.shape, dtype=torch.float32, device=x.device)
    padded = gpu.power_of_two(states)
    block = min(gpu.power_of_two(channels), max(_STATES_PER_WARP // padded, 1), 32)
    blocks = -(-channels // block)
    work = batch * neurons * blocks
    programs = min(work, _PROGRAMS * gpu.processors(x))

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device=x.device)

    gA, gD = empty(batch, neurons, channels, states), empty(batch, neurons, channels)
    gB, gC = empty(batch, time, neurons, blocks, states), empty(batch, time, neurons, blocks, states)
    scratch = empty(programs, period // _STEPS, padded, block)
    gpu.launch(
        scan_backward, programs,
        gy, None if glast is None else gpu.floats(glast), x, dt, gpu.floats(A), B, C, gpu.floats(D), z,
        gpu.floats(state), gpu.flags(reset), gpu.flags(mask), kept, scratch, gx, gdt, gA, gB, gC, gD, gz, gstate,
        *(s for t in (gy, x, dt, B, C, z, gx, gdt, gz) for s in gpu.strides(t)),
        time, neurons, channels, _keeps(time, period), work,
        S=states, SHARED=shared, PERIOD=period, SP=padded, BE=block, STEPS=_STEPS,
        num_warps=1,
    )  # fmt: skip
    over = (0, 1) if shared else 0
    return (
        gx,
        gdt,
        gA.sum(over).view(A.shape).to(A.dtype),
        gB.sum(3).to(B.dtype),
        gC.sum(3).to(C.dtype),
        gD.sum(over).view(D.shape).to(D.dtype),
        gz,
        gstate.to(state.dtype),
    )


@_backward.register_fake
def _backward_shapes(gy, glast, x, dt, A, B, C, D, z, state, reset, mask, kept, period):
    dense = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (A, B, C, D, state))
    gA, gB, gC, gD, gstate = dense
    gx, gdt, gz = (torch.empty_like(gpu.rows(t)) for t in (x, dt, z))
    return gx, gdt, gA, gB, gC, gD, gz, gstate


def _save(ctx, inputs, output):
    *tensors, period = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.period = period
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[2])


def _gradients(ctx, gy, glast, _):
    *tensors, kept = ctx.saved_tensors
    if beyond(gy, glast) or not ctx.period:
        return *again(selective_scan_reference, tensors, (gy, glast)), None
    if gy is None:
        gy = torch.zeros_like(tensors[0])
    gradients = torch.ops.inn.triton_selective_scan_bwd(gy.to(tensors[0].dtype), glast, *tensors, kept, ctx.period)
    return *gradients, None, None, None


_forward.register_autograd(_gradients, setup_context=_save)
