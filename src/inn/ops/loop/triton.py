"""The loop in Triton (kernels in `triton_kernels.py`): its operators with their gradients, and when it can be used."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inn.ops import gpu
from inn.ops.derivatives import again, beyond
from inn.ops.loop.cells import CELLS
from inn.ops.loop.reference import recurrence_reference

_CELLS = ("elman", "gru", "lstm", "slstm")
_GATES = (1, 3, 4, 4)
_MAX_UNITS = 128  # a gate's weights are one tile of a matrix product
_STREAMS = 16  # in a program: the least rows of a product


def recurrence_triton(
    cell: str, x: Tensor, state: Tensor, reset: Tensor | None = None, mask: Tensor | None = None, *weights: Tensor
) -> tuple[Tensor, Tensor]:
    """See `recurrence_reference` for shapes and types; the results are the same.

    For the backward pass the states that every step starts from are kept; its gates are computed again.
    """
    if reset is not None:
        reset = reset.expand(x.shape[:2])
    if mask is not None:
        mask = (mask.expand(x.shape[:2])[..., None] if mask.ndim == 2 else mask).expand(x.shape[:3])
    keep = gpu.keeps(x, state, *weights)
    weight, bias = (*weights, None)[:2]
    y, last, _ = torch.ops.inn.triton_recurrence_fwd(x, state, reset, mask, weight, bias, cell, keep)
    return y, last


def refuses(cell, x, state, reset=None, mask=None, *weights) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    if cell not in _CELLS:
        return f"knows the cells {', '.join(_CELLS)}, not {cell}"
    units = state.shape[-1]
    if weights[0].shape[-1] != units:
        return "takes neurons that hear themselves, not the population"
    if not 1 <= units <= _MAX_UNITS:
        return f"takes 1 to {_MAX_UNITS} units, not {units}"
    return gpu.refuse((x,), (state, *weights))


_INPUTS = "Tensor x, Tensor state, Tensor? reset, Tensor? mask, Tensor weight, Tensor? bias"


def _plan(
    cell: str, x: Tensor, state: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[int, tuple, dict[str, Any]]:
    """Programs, the sizes and strides that both kernels take last, and what they are compiled for."""
    batch, time, neurons, _ = x.shape
    units = state.shape[-1]
    padded = max(16, gpu.power_of_two(units))
    shared = weight.shape[0] == 1
    own = 0 if bias is None or bias.shape[0] == 1 else units
    sizes = (batch, time, neurons, units, 0 if shared else weight[0].numel(), own)
    options = {
        "CELL": _CELLS.index(cell), "S": CELLS[cell].states, "HP": padded, "BB": _STREAMS, "BK": min(padded, 32),
        "EXACT": gpu.exact_product(x), "num_warps": 4 if padded <= 64 else 8, "num_stages": 2,
    }  # fmt: skip
    return -(-batch // _STREAMS) * neurons, sizes, options


@torch.library.custom_op(
    "inn::triton_recurrence_fwd",
    mutates_args=(),
    schema=f"({_INPUTS}, str cell, bool keep) -> (Tensor, Tensor, Tensor)",
)
def _forward(x, state, reset, mask, weight, bias, cell, keep):
    from inn.ops.loop.triton_kernels import loop_forward

    x = gpu.rows(x)
    batch, time, neurons, _ = x.shape
    units, gates = state.shape[-1], _GATES[_CELLS.index(cell)]
    gpu.expect((batch, time, neurons, gates * units), x=x)
    gpu.expect((batch, neurons, CELLS[cell].states, units), state=state)
    gpu.expect((1 if weight.shape[0] == 1 else neurons, gates * units, units), weight=weight)
    if bias is not None:
        gpu.expect((1 if bias.shape[0] == 1 else neurons, units), bias=bias)
    gpu.expect((batch, time), reset=reset)
    gpu.expect((batch, time, neurons), mask=mask)
    y, last, kept = _forward_shapes(x, state, reset, mask, weight, bias, cell, keep)
    programs, sizes, options = _plan(cell, x, state, weight, bias)
    if x.numel():
        gpu.launch(
            loop_forward, programs,
            x, gpu.floats(state), gpu.flags(reset), gpu.flags(mask), gpu.floats(weight),
            None if bias is None else gpu.floats(bias), y, last, kept, *gpu.strides(x), *gpu.strides(y), *sizes,
            KEEP=keep, **options,
        )  # fmt: skip
        return y, last, kept
    return y, state.to(torch.float32, copy=True), kept


@_forward.register_fake
def _forward_shapes(x, state, reset, mask, weight, bias, cell, keep):
    batch, time, neurons, _ = x.shape
    kept = (batch, time, neurons, *state.shape[2:]) if keep else (0,)
    return (
        gpu.rows(x).new_empty(batch, time, neurons, state.shape[-1]),
        state.new_empty(state.shape, dtype=torch.float32),
        state.new_empty(kept, dtype=torch.float32),
    )


@torch.library.custom_op(
    "inn::triton_recurrence_bwd",
    mutates_args=(),
    schema=f"(Tensor gy, Tensor? glast, {_INPUTS}, Tensor kept, str cell) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _backward(gy, glast, x, state, reset, mask, weight, bias, kept, cell):
    from inn.ops.loop.triton_kernels import loop_backward

    x, gy = gpu.rows(x), gpu.rows(gy)
    batch, time, neurons, _ = x.shape
    units, gates = state.shape[-1], _GATES[_CELLS.index(cell)]
    gx = torch.empty_like(x)
    gstate = torch.empty(state.shape, dtype=torch.float32, device=x.device)
    gheard = torch.empty((batch, time, neurons, gates, units), dtype=torch.float32, device=x.device)
    programs, sizes, options = _plan(cell, x, state, weight, bias)
    gpu.launch(
        loop_backward, programs,
        gy, None if glast is None else gpu.floats(glast), x, gpu.flags(reset), gpu.flags(mask), gpu.floats(weight),
        None if bias is None else gpu.floats(bias), kept, gx, gheard, gstate,
        *gpu.strides(gy), *gpu.strides(x), *gpu.strides(gx), *sizes, GATES=gates, **options,
    )  # fmt: skip
    heard, h = gheard.flatten(3).flatten(0, 1), kept[:, :, :, 0].flatten(0, 1)  # [B T, N, O], [B T, N, H]
    if weight.shape[0] == 1:
        gweight = (heard.flatten(0, 1).T @ h.flatten(0, 1))[None]
    else:
        gweight = heard.permute(1, 2, 0) @ h.transpose(0, 1)
    gbias = x.new_empty(0)
    if bias is not None:  # inside the reset gate, as the last gate's recurrent product is
        gbias = gheard[:, :, :, -1].sum((0, 1) if bias.shape[0] > 1 else (0, 1, 2)).view(bias.shape).to(bias.dtype)
    return gx, gstate.to(state.dtype), gweight.to(weight.dtype), gbias


@_backward.register_fake
def _backward_shapes(gy, glast, x, state, reset, mask, weight, bias, kept, cell):
    gstate, gweight = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (state, weight))
    gbias = x.new_empty(0) if bias is None else torch.empty_like(bias, memory_format=torch.contiguous_format)
    return torch.empty_like(gpu.rows(x)), gstate, gweight, gbias


def _save(ctx, inputs, output):
    *tensors, ctx.cell, ctx.keep = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[2])


def _gradients(ctx, gy, glast, _):
    *tensors, kept = ctx.saved_tensors
    x, state, *_, bias = tensors
    if beyond(gy, glast) or not ctx.keep or not x.numel():

        def loop(*given):
            return recurrence_reference(ctx.cell, *given[: 4 + CELLS[ctx.cell].weights])

        return *again(loop, tensors, (gy, glast)), None, None
    if gy is None:
        gy = x.new_zeros(()).expand(*x.shape[:3], state.shape[-1])
    gx, gstate, gweight, gbias = torch.ops.inn.triton_recurrence_bwd(gy.to(x.dtype), glast, *tensors, kept, ctx.cell)
    return gx, gstate, None, None, gweight, None if bias is None else gbias, None, None


_forward.register_autograd(_gradients, setup_context=_save)
