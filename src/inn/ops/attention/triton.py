"""The attention in Triton (kernels in `triton_kernels.py`): its operators, their gradients, and when it can be used."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from inn.ops import gpu
from inn.ops.attention.torch import again_attention
from inn.ops.derivatives import beyond

_MAX_NEURONS = 1024
_MAX_WIDTH = 256


def neuron_attention_triton(
    q: Tensor, k: Tensor, v: Tensor, edges: Tensor | None = None, dropout: float = 0.0, want_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """See `neuron_attention_reference` for shapes and types; the results are the same, but for the random choice of
    what dropout drops: Philox of one random number and the place of the weight, which the backward pass makes again.
    """
    heads, neurons = q.shape[3], q.shape[2]
    # The seed stays a tensor: it never has to come back from the GPU, and torch.compile sees it drawn.
    seed = torch.randint(2**62, (1,), device=q.device) if dropout else None
    keep = neurons > tile(q.dtype, q.shape[4]) and gpu.needs_gradient(q, k, v)
    out, _, weights = torch.ops.inn.triton_neuron_attention_fwd(
        q.flatten(3), k.flatten(3), v.flatten(3), heads, edges, dropout, seed, keep, want_weights
    )
    return out.unflatten(3, (heads, -1)), weights if want_weights else None


def refuses(q, k, v, edges=None, dropout=0.0, want_weights=False) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    if want_weights and gpu.needs_gradient(q, k, v):
        return "hands back routing weights only where no gradient is wanted (torch.no_grad)"
    if edges is not None and edges.ndim > 2:
        return "takes the same edges at all steps"
    if q.shape[2] > _MAX_NEURONS:
        return f"takes up to {_MAX_NEURONS} neurons, not {q.shape[2]}"
    if q.shape[4] > _MAX_WIDTH:
        return f"takes heads up to {_MAX_WIDTH} wide, not {q.shape[4]}"
    if q.dtype != k.dtype or q.dtype != v.dtype:
        return f"takes queries, keys and values of one type, not {q.dtype}, {k.dtype} and {v.dtype}"
    return gpu.refuse((q, k, v))


def _numbers(q: Tensor, heads: int, dropout: float) -> tuple[int | float, ...]:
    """T, N, H, d, scale, threshold, boost."""
    width = q.shape[3] // heads
    boost = 1 / (1 - dropout) if dropout < 1 else 0.0
    return q.shape[1], q.shape[2], heads, width, math.log2(math.e) / math.sqrt(width), int(dropout * 2**31), boost


def tile(kind: torch.dtype, width: int) -> int:
    """Neurons that one tile holds, for heads so wide: exact products of float32 take more registers."""
    if kind == torch.bfloat16:
        return 64
    return 32 if width <= 64 else 16


def _blocks(q: Tensor, heads: int) -> dict[str, Any]:
    """How a tile is cut: neurons, width, and warps that leave each lane about 16 numbers of the largest matrix."""
    neurons, width = q.shape[2], q.shape[3] // heads
    block = max(16, min(tile(q.dtype, width), gpu.power_of_two(neurons)))
    padded = max(16, gpu.power_of_two(width))
    warps = min(8, max(1, block * max(block, padded) // 512))
    return {"BLOCK": block, "DP": padded, "EXACT": gpu.exact_product(q), "num_warps": warps, "num_stages": 1}


def _heads_together(q: Tensor, heads: int) -> int:
    """Heads that one program takes: they share the random numbers, of which the generator gives four at a time."""
    if q.shape[2] > tile(q.dtype, q.shape[3] // heads):
        return 1
    few = q.shape[2] > 32 or q.dtype == torch.float32  # the numbers take registers that large tiles need
    return math.gcd(heads, 2 if few else 4)


_INPUTS = "Tensor q, Tensor k, Tensor v, int heads, Tensor? edges, float dropout, Tensor? seed"


@torch.library.custom_op(
    "inn::triton_neuron_attention_fwd",
    mutates_args=(),
    schema=f"({_INPUTS}, bool keep, bool want_weights) -> (Tensor, Tensor, Tensor)",
)
def _forward(q, k, v, heads, edges, dropout, seed, keep, want_weights):
    from inn.ops.attention.triton_kernels import attention_forward

    q, k, v = (gpu.rows(t) for t in (q, k, v))
    gpu.expect(q.shape, k=k, v=v)
    gpu.expect((q.shape[2], q.shape[2]), edges=edges)
    out, lse, weights = _forward_shapes(q, k, v, heads, edges, dropout, seed, keep, want_weights)
    together, blocks = _heads_together(q, heads), _blocks(q, heads)
    gpu.launch(
        attention_forward, q.shape[0] * q.shape[1] * -(-q.shape[2] // blocks["BLOCK"]) * (heads // together),
        q, k, v, gpu.flags(edges), seed, out, lse if keep else None, weights if want_weights else None,
        *(s for t in (q, k, v, out) for s in gpu.strides(t)), *_numbers(q, heads, dropout),
        HEADS=together, ONE=q.shape[2] <= blocks["BLOCK"], **blocks,
    )  # fmt: skip
    return out, lse, weights


@_forward.register_fake
def _forward_shapes(q, k, v, heads, edges, dropout, seed, keep, want_weights):
    batch, time, neurons, _ = q.shape
    lse = q.new_empty((batch, time, heads, neurons) if keep else (0,), dtype=torch.float32)
    weights = q.new_empty((batch, time, heads, neurons, neurons) if want_weights else (0,))
    return torch.empty_like(gpu.rows(q)), lse, weights


@torch.library.custom_op(
    "inn::triton_neuron_attention_bwd",
    mutates_args=(),
    schema=f"(Tensor gout, {_INPUTS}, Tensor? out, Tensor? lse) -> (Tensor, Tensor, Tensor)",
)
def _backward(gout, q, k, v, heads, edges, dropout, seed, out, lse):
    from inn.ops.attention import triton_kernels as kernels

    q, k, v, gout = (gpu.rows(t) for t in (q, k, v, gout))
    gq, gk, gv = (torch.empty_like(t) for t in (q, k, v))
    numbers, blocks = _numbers(q, heads, dropout), _blocks(q, heads)
    rows = q.shape[0] * q.shape[1]
    edges = gpu.flags(edges)
    if out is None:
        together = _heads_together(q, heads)
        gpu.launch(
            kernels.attention_backward, rows * (heads // together),
            gout, q, k, v, edges, seed, gq, gk, gv,
            *(s for t in (gout, q, k, v, gq, gk, gv) for s in gpu.strides(t)), *numbers, HEADS=together, **blocks,
        )  # fmt: skip
        return gq, gk, gv
    delta = torch.empty_like(lse)
    programs = rows * -(-q.shape[2] // blocks["BLOCK"]) * heads
    gpu.launch(
        kernels.attention_backward_queries, programs,
        gout, q, k, v, edges, seed, out, lse, gq, delta,
        *(s for t in (gout, q, k, v, out, gq) for s in gpu.strides(t)), *numbers, **blocks,
    )  # fmt: skip
    gpu.launch(
        kernels.attention_backward_keys, programs,
        gout, q, k, v, edges, seed, lse, delta, gk, gv,
        *(s for t in (gout, q, k, v, gk, gv) for s in gpu.strides(t)), *numbers, **blocks,
    )  # fmt: skip
    return gq, gk, gv


@_backward.register_fake
def _backward_shapes(gout, q, k, v, heads, edges, dropout, seed, out, lse):
    gq, gk, gv = (torch.empty_like(gpu.rows(t)) for t in (q, k, v))
    return gq, gk, gv


def _save(ctx, inputs, output):
    q, k, v, ctx.heads, edges, ctx.dropout, seed, keep, _ = inputs
    out, lse, weights = output
    ctx.save_for_backward(q, k, v, edges, seed, *((out, lse) if keep else (None, None)))
    ctx.mark_non_differentiable(lse, weights)


def _gradients(ctx, gout, *_):
    q, k, v, edges, seed, out, lse = ctx.saved_tensors
    if beyond(gout):
        return *again_attention(q, k, v, ctx.heads, edges, ctx.dropout, gout), None, None, None, None, None, None
    gradients = torch.ops.inn.triton_neuron_attention_bwd(
        gout.to(q.dtype), q, k, v, ctx.heads, edges, ctx.dropout, seed, out, lse
    )
    return *gradients, None, None, None, None, None, None


_forward.register_autograd(_gradients, setup_context=_save)
