"""Packed steps row by row, each by the loop over time: the bar that every backend is held to."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from inn.ops.conv.reference import causal_conv_reference
from inn.ops.scan.reference import selective_scan_reference


def packed_scan_reference(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, state: Tensor, first: Tensor
) -> tuple[Tensor, Tensor]:
    """`selective_scan` over the steps of each neuron and stream, which are as many as they are.

    Args:
        x, dt, z: `[R, E]`, the steps of neuron 0, stream by stream, then those of neuron 1; B, C: `[R, S]`.
        A: `[P, E, S]`; D: `[P, E]`; state: `[B, N, E, S]`, as there.
        first: `[N x B + 1]` int64, where the steps of each neuron's streams begin, and R.

    Returns y `[R, E]` and the state after each last step; that of a row without steps is the given one.
    """

    def one(row: slice, n: int, before: Tensor) -> tuple[Tensor, Tensor]:
        p = n if A.shape[0] > 1 else 0
        own = {"A": A[p, None], "D": D[p, None], "state": before}
        over = {"x": x, "dt": dt, "B": B, "C": C, "z": z}
        y, last = selective_scan_reference(**own, **{name: t[None, row, None] for name, t in over.items()})
        return y[0, :, 0], last

    return _each(one, x, state, first, torch.promote_types(x.dtype, torch.float32))


def packed_conv_reference(
    x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, first: Tensor
) -> tuple[Tensor, Tensor]:
    """`causal_conv` over the steps of each neuron and stream: x `[R, E]`, laid out as in `packed_scan_reference`."""

    def one(row: slice, n: int, before: Tensor) -> tuple[Tensor, Tensor]:
        p = n if weight.shape[0] > 1 else 0
        y, last = causal_conv_reference(x[None, row, None], weight[p, None], bias[p, None], before)
        return y[0, :, 0], last

    return _each(one, x, state, first, state.dtype)


def packed_attention_reference(
    q: Tensor, k: Tensor, v: Tensor, order: Tensor, first: Tensor, dropout: float = 0.0
) -> Tensor:
    """Attention among the neurons that meet at a step, each of which hears all of them, itself included.

    Args:
        q, k, v: `[R, H, d]`, by head.
        order: `[R]` int64, the rows step by step; first: `[M + 1]` int64, where those of each step begin in it, and R.
        dropout: probability of dropping a routing weight (the kept ones are scaled up).

    Returns `[R, H, d]`.
    """
    message = torch.zeros_like(v)
    for begin, end in pairwise(first.tolist()):
        for to in order[begin:end].tolist():
            own = order[begin:end]
            weights = ((q[to] * k[own]).sum(-1) / q.shape[-1] ** 0.5).softmax(0)  # [M, H]
            weights = torch.nn.functional.dropout(weights, dropout) if dropout else weights
            message = message.index_put((torch.tensor(to),), (weights[..., None] * v[own]).sum(0))
    return message


def _each(one: Callable, x: Tensor, state: Tensor, first: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    batch, neurons = state.shape[:2]
    starts, results = first.tolist(), []
    last = [[state[b, n].to(kind) for n in range(neurons)] for b in range(batch)]
    for i, (begin, end) in enumerate(pairwise(starts)):
        if begin < end:
            n, b = divmod(i, batch)
            y, after = one(slice(begin, end), n, state[b : b + 1, n : n + 1])
            last[b][n] = after[0, 0]
            results.append(y)
    y = torch.cat(results) if results else x
    return y, torch.stack([torch.stack(row) for row in last])
