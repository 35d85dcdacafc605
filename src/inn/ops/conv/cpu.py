"""The convolution in C++ (`inn/ops/cpu/conv.cpp`): its operators' shapes and gradients, and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.conv.torch import causal_conv_torch
from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import refuse, run
from inn.ops.derivatives import again, beyond
from inn.ops.tensors import rows

_MAX_TAPS = 4  # MAX_TAPS in conv.h


def causal_conv_cpu(
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
    return run(torch.ops.inn.causal_conv_fwd, x, weight, bias, state, reset, mask)


def refuses(x, weight, bias, state, reset=None, mask=None) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if weight.shape[-1] > _MAX_TAPS:
        return f"takes up to {_MAX_TAPS} taps, not {weight.shape[-1]}"
    return refuse((x,), (weight, bias, state)) or why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::causal_conv_fwd", _forward_shapes)
    torch.library.register_fake("inn::causal_conv_bwd", _backward_shapes)
    torch.library.register_autograd("inn::causal_conv_fwd", _backward, setup_context=_save)


def _forward_shapes(x, weight, bias, state, reset, mask):
    return torch.empty_like(rows(x)), torch.empty_like(state, memory_format=torch.contiguous_format)


def _backward_shapes(gy, glast, x, weight, bias, state, reset, mask):
    gw, gb, gstate = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (weight, bias, state))
    return torch.empty_like(rows(x)), gw, gb, gstate


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)
    ctx.set_materialize_grads(False)


def _backward(ctx, gy, glast):
    tensors = ctx.saved_tensors
    if beyond(gy, glast):
        return again(causal_conv_torch, tensors, (gy, glast))
    if gy is None:
        gy = torch.zeros_like(tensors[0])
    gradients = torch.ops.inn.causal_conv_bwd(gy.to(tensors[0].dtype), glast, *tensors)
    return *gradients, None, None
