"""Which tensors the C++ kernels take, and what their results look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from inn.ops import tensors


def refuse(streams: Sequence[Tensor], floats: Sequence[Tensor]) -> str | None:
    """Why the kernels cannot take these, or None; see `inn.ops.tensors.refuse`."""
    for t in (*streams, *floats):
        if not t.is_cpu:
            return f"takes tensors on the CPU, not on {t.device.type}"
    return tensors.refuse(streams, floats)


def run(op: Any, *args: Any) -> Any:
    """Call an operator that changes nothing; past autograd where no gradient can follow.

    PyTorch's way there is the same, but by Python code of its own that takes as long as a small op.
    """
    if args[0].requires_grad or torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
        return op(*args)  # training, mostly; or past it already
    if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
        return op(*args)
    with torch._C._AutoDispatchBelowAutograd():
        return op(*args)


def empty_result(x: Tensor, width: int, sets: int) -> Tensor:
    """What a map of x `[B, T, N, I]` gives, `[B, T, N, width]`: neuron by neuron if each has its own weights."""
    batch, time, neurons = x.shape[:3]
    if sets > 1:
        return x.new_empty(neurons, batch, time, width).permute(1, 2, 0, 3)
    return x.new_empty(batch, time, neurons, width)
