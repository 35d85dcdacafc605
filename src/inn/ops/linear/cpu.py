"""The maps in C++ (`inn/ops/cpu/linear.cpp`): their operators' shapes and gradients, and when they can be used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import empty_result, refuse, run
from inn.ops.derivatives import beyond
from inn.ops.linear.torch import again_linear


def neuron_linear_cpu(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, sizes: Sequence[int] | None = None
) -> tuple[Tensor, ...]:
    """See `neuron_linear_reference`. With separate weights results are laid out neuron by neuron in memory.

    Each result is a tensor of its own, and so is its gradient: nothing is split or put together.
    """
    return tuple(run(torch.ops.inn.neuron_linear_fwd, x, weight, bias, list(sizes or (weight.shape[1],))))


def refuses(x, weight, bias=None, sizes=None) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if x.dtype == torch.bfloat16:
        return "takes float32; PyTorch's own bfloat16 product is faster"
    return refuse((x,), (weight,)) or why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::neuron_linear_fwd", _forward_shape)
    torch.library.register_fake("inn::neuron_linear_input_bwd", _input_shape)
    torch.library.register_fake("inn::neuron_linear_weight_bwd", _weight_shapes)
    torch.library.register_autograd("inn::neuron_linear_fwd", _backward, setup_context=_save)


def _forward_shape(x, weight, bias, sizes):
    return [empty_result(x, size, weight.shape[0]) for size in sizes]


def _input_shape(gy, weight):
    return empty_result(gy[0], weight.shape[2], weight.shape[0])


def _weight_shapes(gy, x, sets, bias):
    outputs = sum(g.shape[3] for g in gy)
    return x.new_empty(sets, outputs, x.shape[3]), x.new_empty(sets if bias else 0, outputs)


def _save(ctx, inputs, output):
    x, weight, bias, _ = inputs
    ctx.bias = None if bias is None else bias.dtype
    ctx.save_for_backward(x, weight)


def _backward(ctx, gy):
    x, weight = ctx.saved_tensors
    if beyond(*gy):
        return *again_linear(x, weight, ctx.bias, gy), None
    gx = gw = gb = None
    if ctx.needs_input_grad[0]:
        gx = torch.ops.inn.neuron_linear_input_bwd(gy, weight)
    if any(ctx.needs_input_grad[1:3]):
        gw, gb = torch.ops.inn.neuron_linear_weight_bwd(gy, x, weight.shape[0], ctx.bias is not None)
        gw, gb = gw.to(weight.dtype), None if ctx.bias is None else gb.to(ctx.bias)
    return gx, gw, gb, None
