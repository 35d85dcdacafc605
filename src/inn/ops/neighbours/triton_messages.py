"""Matrix messages along listed edges in Triton (kernels in `triton_kernels.py`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inn.ops import gpu
from inn.ops.derivatives import again, beyond
from inn.ops.neighbours.messages import neighbour_messages_plain, neighbour_messages_torch
from inn.ops.neighbours.triton import by_source, factors_of


def neighbour_messages_triton(
    x: Tensor, weight: Tensor, sources: Tensor, open: Tensor, signs: Tensor | None = None
) -> Tensor:
    """See `neighbour_messages_reference`. Matrices that all listeners share are left to PyTorch's product here, too."""
    if len(weight) < len(sources):
        return neighbour_messages_torch(x, weight, sources, open, signs)
    return torch.ops.inn.triton_neighbour_messages_fwd(x, weight, sources, open, signs)


def refuses_messages(x, weight, sources, open, signs=None) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    if len(weight) < len(sources) and not gpu.asked_for():
        return "matrices that all listeners share are better left to PyTorch's product"
    if x.dtype != weight.dtype:
        return f"takes inputs and weights of one type, not {x.dtype} and {weight.dtype}"
    return gpu.refuse((x, weight))


def _tile(x: Tensor, width: int, outputs: int) -> dict[str, Any]:
    """Steps, numbers of a message and of what is sent; sums of 16 numbers to a lane at least."""
    most = 64 if x.dtype == torch.bfloat16 else 32
    steps, high, wide = (min(most, max(16, gpu.power_of_two(n))) for n in (x.shape[0] * x.shape[1], outputs, width))
    warps = max(1, min(4, steps * max(high, wide) // 512))
    return {"BM": steps, "BI": high, "BD": wide, "EXACT": gpu.exact_product(x), "num_warps": warps, "num_stages": 2}


def _sizes(x: Tensor, neurons: int, weight: Tensor) -> tuple[int, ...]:
    """B x T, T, neurons, K, D, I."""
    return x.shape[0] * x.shape[1], x.shape[1], neurons, weight.shape[2], weight.shape[3], weight.shape[1]


def _factors(sources: Tensor, open: Tensor, signs: Tensor | None, weight: Tensor) -> Tensor:
    gpu.expect((len(weight), weight.shape[2]), sources=sources, open=open, signs=signs)
    return factors_of(open, signs).contiguous()


_GIVEN = "Tensor x, Tensor weight, Tensor sources, Tensor open, Tensor? signs"


@torch.library.custom_op("inn::triton_neighbour_messages_fwd", mutates_args=(), schema=f"({_GIVEN}) -> Tensor")
def _forward(x, weight, sources, open, signs):
    from inn.ops.neighbours.triton_kernels import messages_forward

    x, weight = gpu.rows(x), gpu.rows(weight)
    gpu.expect((*weight.shape[:3], x.shape[3]), weight=weight)
    y, factors = _shape(x, weight, sources, open, signs), _factors(sources, open, signs, weight)
    tile = _tile(x, weight.shape[3], weight.shape[1])
    programs = len(sources) * -(-x.shape[0] * x.shape[1] // tile["BM"]) * -(-weight.shape[1] // tile["BI"])
    gpu.launch(
        messages_forward, programs, x, weight, sources.contiguous(), factors, y, *gpu.strides(x), *gpu.strides(y),
        *weight.stride()[:3], *_sizes(x, len(sources), weight), **tile,
    )  # fmt: skip
    return y


@_forward.register_fake
def _shape(x, weight, sources, open, signs):
    return x.new_empty((*x.shape[:2], len(sources), weight.shape[1]))


@torch.library.custom_op(
    "inn::triton_neighbour_messages_bwd", mutates_args=(), schema=f"(Tensor gy, {_GIVEN}) -> (Tensor, Tensor)"
)
def _backward(gy, x, weight, sources, open, signs):
    from inn.ops.neighbours import triton_kernels as kernels

    x, weight, gy = (gpu.rows(t) for t in (x, weight, gy))
    factors, (gx, _) = _factors(sources, open, signs, weight), _backward_shapes(gy, x, weight, sources, open, signs)
    tile = _tile(x, weight.shape[3], weight.shape[1])
    neurons, high, wide = x.shape[2], -(-weight.shape[1] // tile["BI"]), -(-weight.shape[3] // tile["BD"])
    gpu.launch(
        kernels.messages_backward_inputs, neurons * -(-x.shape[0] * x.shape[1] // tile["BM"]) * wide,
        gy, weight, *by_source(sources, open, neurons), factors, gx, *gpu.strides(gy), *gpu.strides(gx),
        *weight.stride()[:3], *_sizes(x, neurons, weight), **tile,
    )  # fmt: skip
    gweight = torch.empty(weight.shape, dtype=torch.float32, device=x.device)
    gpu.launch(
        kernels.messages_backward_weights, sources.numel() * high * wide,
        gy, x, sources.contiguous(), factors, gweight, *gpu.strides(gy), *gpu.strides(x),
        *_sizes(x, len(sources), weight), **tile,
    )  # fmt: skip
    return gx, gweight.to(weight.dtype)


@_backward.register_fake
def _backward_shapes(gy, x, weight, sources, open, signs):
    return torch.empty_like(gpu.rows(x)), torch.empty_like(weight, memory_format=torch.contiguous_format)


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _gradients(ctx, gy):
    given = ctx.saved_tensors
    if beyond(gy):
        return again(neighbour_messages_plain, given, (gy,))
    gx, gweight = torch.ops.inn.triton_neighbour_messages_bwd(gy.to(given[0].dtype), *given)
    return gx, gweight, None, None, None


_forward.register_autograd(_gradients, setup_context=_save)
