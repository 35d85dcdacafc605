"""Which tensors the kernels take, and how they read them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_TYPES = frozenset((torch.float32, torch.bfloat16))


def refuse(streams: Iterable[Tensor], floats: Iterable[Tensor]) -> str | None:
    """Why the kernels cannot take these: `streams` are over time, `floats` are parameters and states."""
    for t in streams:
        if not t.is_cpu:
            return f"takes tensors on the CPU, not on {t.device.type}"
        if t.dtype not in _TYPES:
            return f"takes float32 and bfloat16, not {str(t.dtype).removeprefix('torch.')}"
        if 0 in t.shape:
            return f"takes at least one stream, step, neuron and channel, not {list(t.shape)}"
    for t in floats:
        if not t.is_cpu:
            return f"takes tensors on the CPU, not on {t.device.type}"
        if t.dtype == torch.float64:
            return "computes in float32, not in float64"
    return None


def rows(t: Tensor) -> Tensor:
    """`t` with its last axis dense, copied if need be: what the kernels read, and whose layout their results take."""
    return t if t.shape[-1] == 1 or t.stride(-1) == 1 else t.contiguous()


def empty_result(x: Tensor, width: int, sets: int) -> Tensor:
    """What a map of x `[B, T, N, I]` gives, `[B, T, N, width]`: neuron by neuron if each has its own weights."""
    batch, time, neurons = x.shape[:3]
    if sets > 1:
        return x.new_empty(neurons, batch, time, width).permute(1, 2, 0, 3)
    return x.new_empty(batch, time, neurons, width)
