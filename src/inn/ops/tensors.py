"""Which tensors the kernels of every backend take, and how they read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import Parameter

_TYPES = frozenset((torch.float32, torch.bfloat16))


def refuse(
    streams: Iterable[Tensor], floats: Iterable[Tensor], elsewhere: Callable[[Tensor], str | None]
) -> str | None:
    """Why a kernel cannot take these: `streams` are over time, `floats` are parameters and states.

    `elsewhere` says why a tensor is not where the kernel runs, or None.
    """
    for t in streams:
        if reason := elsewhere(t):
            return reason
        if t.dtype not in _TYPES:
            return f"takes float32 and bfloat16, not {str(t.dtype).removeprefix('torch.')}"
        if 0 in t.shape:
            return f"takes at least one stream, step, neuron and channel, not {list(t.shape)}"
    for t in floats:
        if reason := elsewhere(t):
            return reason
        if t.dtype == torch.float64:
            return "computes in float32, not in float64"
        if t.layout is not torch.strided:
            return f"takes dense weights, not {str(t.layout).removeprefix('torch.')}"
    return None


def needs_gradient(*tensors: Tensor) -> bool:
    """Whether a backward pass may follow."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def plain(t: Tensor) -> bool:
    """Whether a tensor is an ordinary one (not quantised, not distributed), or stands for one in a trace."""
    return type(t) in (Tensor, Parameter) or type(t).__module__.startswith("torch._subclasses")


def autocasts(t: Tensor) -> bool:
    """Whether operations on a tensor run under autocast; never where there are no numbers (`meta`)."""
    return not t.is_meta and torch.is_autocast_enabled(t.device.type)


def keeps(*tensors: Tensor) -> bool:
    """Whether a kernel is to keep for a backward pass more than it was given.

    What is exported keeps nothing, for how much that would be depends on the time; its gradient is found by `again`.
    """
    return needs_gradient(*tensors) and not torch.compiler.is_exporting()


def rows(t: Tensor) -> Tensor:
    """`t` with its last axis dense, copied if need be: what the kernels read, and whose layout their results take."""
    return t if t.shape[-1] == 1 or t.stride(-1) == 1 else t.contiguous()
