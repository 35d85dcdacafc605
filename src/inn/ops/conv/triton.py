"""The convolution in Triton (kernels in `triton_kernels.py`): its operators, their gradients, when it can be used."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inn.ops import gpu
from inn.ops.conv.torch import causal_conv_torch
from inn.ops.derivatives import again, beyond

_MAX_TAPS = 4
_STRETCH = 64  # steps that one program walks


def causal_conv_triton(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `causal_conv_reference` for shapes and types; the results are the same.

    Only the last axis has to be dense; y and the gradient of x are laid out like x.
    """
    return torch.ops.inn.triton_causal_conv_fwd(x, weight, bias, state, reset, mask)


def refuses(x, weight, bias, state, reset=None, mask=None) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    if weight.shape[-1] > _MAX_TAPS:
        return f"takes up to {_MAX_TAPS} taps, not {weight.shape[-1]}"
    return gpu.refuse((x,), (weight, bias, state))


def _plan(x: Tensor, weight: Tensor, mask: Tensor | None, lane: int) -> tuple[int, int, dict[str, Any]]:
    """Stretches of time, programs, and what a kernel is compiled for that reads so many bytes to a lane."""
    batch, time, neurons, channels = x.shape
    block = min(gpu.power_of_two(channels), 32 * lane // x.element_size())
    stretch = 0 if mask is not None else _STRETCH
    stretches = -(-time // stretch) if stretch else 1
    options = {"K": weight.shape[2], "SHARED": weight.shape[0] == 1, "STRETCH": stretch, "BE": block}
    programs = batch * neurons * stretches * -(-channels // block)
    return stretches, programs, {**options, "STEPS": min(8, gpu.power_of_two(time)), "num_warps": 1}


_INPUTS = "Tensor x, Tensor weight, Tensor bias, Tensor state, Tensor? reset, Tensor? mask"


@torch.library.custom_op("inn::triton_causal_conv_fwd", mutates_args=(), schema=f"({_INPUTS}) -> (Tensor, Tensor)")
def _forward(x, weight, bias, state, reset, mask):
    from inn.ops.conv.triton_kernels import conv_forward

    x = gpu.rows(x)
    batch, time, neurons, channels = x.shape
    sets, _, taps = weight.shape
    gpu.expect((1 if sets == 1 else neurons, channels, taps), weight=weight)
    gpu.expect((sets, channels), bias=bias)
    gpu.expect((batch, neurons, taps - 1, channels), state=state)
    gpu.expect((batch, time), reset=reset, mask=mask)
    y = torch.empty_like(x)
    last = torch.empty(state.shape, dtype=torch.float32, device=x.device)
    stretches, programs, options = _plan(x, weight, mask, 8)
    gpu.launch(
        conv_forward, programs,
        x, gpu.floats(weight), gpu.floats(bias), gpu.floats(state), gpu.flags(reset), gpu.flags(mask), y, last,
        *gpu.strides(x), *gpu.strides(y), time, neurons, channels, stretches, **options,
    )  # fmt: skip
    return y, last.to(state.dtype)


@_forward.register_fake
def _forward_shapes(x, weight, bias, state, reset, mask):
    return torch.empty_like(gpu.rows(x)), torch.empty_like(state, memory_format=torch.contiguous_format)


@torch.library.custom_op(
    "inn::triton_causal_conv_bwd",
    mutates_args=(),
    schema=f"(Tensor gy, Tensor? glast, {_INPUTS}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _backward(gy, glast, x, weight, bias, state, reset, mask):
    from inn.ops.conv.triton_kernels import conv_backward

    x, gy = gpu.rows(x), gpu.rows(gy)
    batch, time, neurons, channels = x.shape
    gx = torch.empty_like(x)
    stretches, programs, options = _plan(x, weight, mask, 4)

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device=x.device)

    gstate = empty(*state.shape)
    gweight, gbias = empty(batch, neurons, stretches, 4, channels), empty(batch, neurons, stretches, channels)
    gpu.launch(
        conv_backward, programs,
        gy, None if glast is None else gpu.floats(glast), x, gpu.floats(weight), gpu.floats(bias), gpu.floats(state),
        gpu.flags(reset), gpu.flags(mask), gx, gweight, gbias, gstate,
        *gpu.strides(gy), *gpu.strides(x), *gpu.strides(gx), time, neurons, channels, stretches, **options,
    )  # fmt: skip
    over = (0, 1, 2) if weight.shape[0] == 1 else (0, 2)
    taps = gweight.sum(over).view(weight.shape[0], 4, channels)[:, 4 - weight.shape[2] :]
    return (
        gx,
        taps.transpose(1, 2).contiguous().to(weight.dtype),
        gbias.sum(over).view(bias.shape).to(bias.dtype),
        gstate.to(state.dtype),
    )


@_backward.register_fake
def _backward_shapes(gy, glast, x, weight, bias, state, reset, mask):
    gw, gb, gstate = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (weight, bias, state))
    return torch.empty_like(gpu.rows(x)), gw, gb, gstate


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)
    ctx.set_materialize_grads(False)


def _gradients(ctx, gy, glast):
    tensors = ctx.saved_tensors
    if beyond(gy, glast):
        return again(causal_conv_torch, tensors, (gy, glast))
    if gy is None:
        gy = torch.zeros_like(tensors[0])
    gradients = torch.ops.inn.triton_causal_conv_bwd(gy.to(tensors[0].dtype), glast, *tensors)
    return *gradients, None, None


_forward.register_autograd(_gradients, setup_context=_save)
