"""Which tensors the C++ kernels take, and what their results look like."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from inn.ops import tensors


def refuse(streams: Iterable[Tensor], floats: Iterable[Tensor]) -> str | None:
    """Why the kernels cannot take these, or None; see `inn.ops.tensors.refuse`."""
    return tensors.refuse(streams, floats, _elsewhere)


def _elsewhere(t: Tensor) -> str | None:
    return None if t.is_cpu else f"takes tensors on the CPU, not on {t.device.type}"


def empty_result(x: Tensor, width: int, sets: int) -> Tensor:
    """What a map of x `[B, T, N, I]` gives, `[B, T, N, width]`: neuron by neuron if each has its own weights."""
    batch, time, neurons = x.shape[:3]
    if sets > 1:
        return x.new_empty(neurons, batch, time, width).permute(1, 2, 0, 3)
    return x.new_empty(batch, time, neurons, width)
