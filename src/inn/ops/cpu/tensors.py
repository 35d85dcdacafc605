"""Which tensors the C++ kernels take, and what their results look like."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from inn.ops import tensors


def refuse(streams: Sequence[Tensor], floats: Sequence[Tensor]) -> str | None:
    """Why the kernels cannot take these, or None; see `inn.ops.tensors.refuse`."""
    for t in (*streams, *floats):
        if not t.is_cpu:
            return f"takes tensors on the CPU, not on {t.device.type}"
    return tensors.refuse(streams, floats)


def empty_result(x: Tensor, width: int, sets: int) -> Tensor:
    """What a map of x `[B, T, N, I]` gives, `[B, T, N, width]`: neuron by neuron if each has its own weights."""
    batch, time, neurons = x.shape[:3]
    if sets > 1:
        return x.new_empty(neurons, batch, time, width).permute(1, 2, 0, 3)
    return x.new_empty(batch, time, neurons, width)
