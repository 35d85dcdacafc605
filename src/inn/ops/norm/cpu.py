"""The norm in C++ (`inn/ops/cpu/norm.cpp`): its operators' shapes and gradients, and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import refuse, run
from inn.ops.derivatives import again, beyond
from inn.ops.norm.reference import EPSILON
from inn.ops.norm.torch import neuron_norm_torch
from inn.ops.tensors import rows


def neuron_norm_cpu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """See `neuron_norm_reference`; only the last axis has to be dense, and the result is laid out like x."""
    return run(torch.ops.inn.neuron_norm_fwd, x, weight, bias, EPSILON)


def refuses(x, weight, bias) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    return refuse((x,), (weight, bias)) or why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::neuron_norm_fwd", lambda x, weight, bias, epsilon: torch.empty_like(rows(x)))
    torch.library.register_fake("inn::neuron_norm_bwd", _backward_shapes)
    torch.library.register_autograd("inn::neuron_norm_fwd", _backward, setup_context=_save)


def _backward_shapes(gy, x, weight, bias, epsilon):
    return torch.empty_like(rows(x)), torch.empty_like(weight), torch.empty_like(bias)


def _save(ctx, inputs, output):
    x, weight, bias, ctx.epsilon = inputs
    ctx.save_for_backward(x, weight, bias)


def _backward(ctx, gy):
    x, weight, bias = ctx.saved_tensors
    if beyond(gy):
        return *again(neuron_norm_torch, (x, weight, bias), (gy,)), None
    return *torch.ops.inn.neuron_norm_bwd(gy.to(x.dtype), x, weight, bias, ctx.epsilon), None
