"""The maps in Triton (kernels in `triton_kernels.py`): their operators, their gradients, and when they can be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inn.ops import gpu
from inn.ops.derivatives import beyond
from inn.ops.linear.torch import again_linear, neuron_linear_torch


def neuron_linear_triton(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, sizes: Sequence[int] | None = None
) -> tuple[Tensor, ...]:
    """See `neuron_linear_reference`; the result lies in memory as `[B, T, N, O]`, whatever the strides of `x`.

    One matrix for all neurons is PyTorch's product here too, so that `use_backend("triton")` takes whole models.
    """
    if weight.shape[0] == 1:
        return neuron_linear_torch(x, weight, bias, sizes)
    y = torch.ops.inn.triton_neuron_linear_fwd(x, weight, bias)
    return y.split(list(sizes), dim=-1) if sizes else (y,)


def refuses(x, weight, bias=None, sizes=None) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    if weight.shape[0] == 1 and not gpu.asked_for():
        return "one matrix for all neurons is better left to PyTorch's product"
    if x.dtype != weight.dtype:
        return f"takes inputs and weights of one type, not {x.dtype} and {weight.dtype}"
    return gpu.refuse((x, weight), () if bias is None else (bias,))


def _block(size: int, x: Tensor) -> int:
    """Exact products of float32 take more registers and shared memory."""
    return min(128 if x.dtype == torch.bfloat16 else 64, max(16, gpu.power_of_two(size)))


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int, transposed: bool) -> Tensor:
    """`x` [B, T, N, I] by `weight`, [N, O, I] or, transposed, [N, I, O]."""
    from inn.ops.linear.triton_kernels import maps

    batch, time, neurons, inputs = x.shape
    y = torch.empty((batch, time, neurons, outputs), dtype=x.dtype, device=x.device)
    w_n, w_o, w_i = weight.stride()
    if transposed:
        w_o, w_i = w_i, w_o
    rows = batch * time
    block_m, block_o = _block(rows, x), _block(outputs, x)
    options: dict[str, Any] = {"BM": block_m, "BO": block_o, "BI": min(32, _block(inputs, x))}
    gpu.launch(
        maps, neurons * -(-rows // block_m) * -(-outputs // block_o),
        x, weight, bias, y, *gpu.strides(x), *gpu.strides(y), w_n, w_o, w_i, rows, time, neurons, outputs, inputs,
        **options, EXACT=gpu.exact_product(x), **_warps(block_m * block_o),
    )  # fmt: skip
    return y


def _warps(numbers: int) -> dict[str, int]:
    """Warps for a tile of so many sums: 32 to a lane."""
    return {"num_warps": max(1, min(8, numbers // 1024)), "num_stages": 3}


_INPUTS = "Tensor x, Tensor weight, Tensor? bias"


@torch.library.custom_op("inn::triton_neuron_linear_fwd", mutates_args=(), schema=f"({_INPUTS}) -> Tensor")
def _forward(x, weight, bias):
    x = gpu.rows(x)
    neurons, outputs, inputs = x.shape[2], weight.shape[1], x.shape[3]
    gpu.expect((neurons, outputs, inputs), weight=weight)
    gpu.expect((neurons, outputs), bias=bias)
    return _product(x, weight, None if bias is None else bias.contiguous(), outputs, False)


@_forward.register_fake
def _forward_shapes(x, weight, bias):
    return x.new_empty((*x.shape[:3], weight.shape[1]))


@torch.library.custom_op(
    "inn::triton_neuron_linear_bwd",
    mutates_args=(),
    schema="(Tensor gy, Tensor x, Tensor weight) -> (Tensor, Tensor, Tensor)",
)
def _backward(gy, x, weight):
    from inn.ops.linear.triton_kernels import weight_gradient

    x, gy = gpu.rows(x), gpu.rows(gy)
    neurons, outputs, inputs = weight.shape
    rows = x.shape[0] * x.shape[1]
    block_m, block_o, block_i = min(64, _block(rows, x)), _block(outputs, x), _block(inputs, x)
    tiles = neurons * -(-outputs // block_o) * -(-inputs // block_i)
    # rows are cut where there are too few tiles to fill the GPU twice, but not into fewer than 512
    parts = max(1, min(2 * gpu.processors(x) // tiles, rows // 512))
    each = -(-rows // (parts * block_m)) * block_m
    parts = -(-rows // each)
    gweight = torch.empty((parts, neurons, outputs, inputs), dtype=torch.float32, device=x.device)
    gbias = torch.empty((parts, neurons, outputs), dtype=torch.float32, device=x.device)
    gpu.launch(
        weight_gradient, tiles * parts,
        gy, x, gweight, gbias, *gpu.strides(gy), *gpu.strides(x), rows, x.shape[1], neurons, outputs, inputs, parts,
        each, BM=block_m, BO=block_o, BI=block_i, EXACT=gpu.exact_product(x), **_warps(block_o * block_i),
    )  # fmt: skip
    return _product(gy, weight, None, inputs, True), gweight.sum(0).to(weight.dtype), gbias.sum(0)


@_backward.register_fake
def _backward_shapes(gy, x, weight):
    gx = torch.empty_like(x, memory_format=torch.contiguous_format)
    gweight = torch.empty_like(weight, memory_format=torch.contiguous_format)
    return gx, gweight, weight.new_empty(weight.shape[:2], dtype=torch.float32)


def _save(ctx, inputs, output):
    x, weight, bias = inputs
    ctx.save_for_backward(x, weight)
    ctx.bias = None if bias is None else bias.dtype


def _gradients(ctx, gy):
    x, weight = ctx.saved_tensors
    if beyond(gy):
        return again_linear(x, weight, ctx.bias, (gy,))
    gx, gweight, gbias = torch.ops.inn.triton_neuron_linear_bwd(gy.to(x.dtype), x, weight)
    return gx, gweight, None if ctx.bias is None else gbias.to(ctx.bias)


_forward.register_autograd(_gradients, setup_context=_save)
