"""Which tensors the kernels of every backend take, and how they read them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import Parameter

_DENSE = torch.strided
_TYPES = frozenset((torch.float32, torch.bfloat16))


def refuse(streams: Iterable[Tensor], floats: Iterable[Tensor]) -> str | None:
    """Why a kernel cannot take these, wherever it runs: `streams` are over time, `floats` are parameters and states."""
    for t in streams:
        if t.dtype not in _TYPES:
            return f"takes float32 and bfloat16, not {str(t.dtype).removeprefix('torch.')}"
        if 0 in t.shape:
            return f"takes at least one stream, step, neuron and channel, not {list(t.shape)}"
    for t in floats:
        if t.dtype == torch.float64:
            return "computes in float32, not in float64"
        if t.layout is not _DENSE:
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
    return torch._C._is_any_autocast_enabled() and not t.is_meta and torch.is_autocast_enabled(t.device.type)


def exact(t: Tensor) -> AbstractContextManager:
    """Operations in the types that they are given, on the device of a tensor; on `meta` there is nothing to cast."""
    return nullcontext() if t.is_meta else torch.autocast(t.device.type, enabled=False)


def keeps(*tensors: Tensor) -> bool:
    """Whether a kernel is to keep for a backward pass more than it was given.

    What is exported keeps nothing, for how much that would be depends on the time; its gradient is found by `again`.
    """
    return needs_gradient(*tensors) and not torch.compiler.is_exporting()


def shares(scores: Tensor, known: Tensor, axis: int = -1) -> Tensor:
    """A softmax along an axis over those `known`, bool that broadcasts to the scores; all zero where there is none.

    Scores of none are made finite first: a softmax over nothing would be NaN, and so would its gradient.
    """
    nobody = ~known.any(axis, keepdim=True)
    return scores.masked_fill(~known, -torch.inf).masked_fill(nobody, 0.0).softmax(axis).masked_fill(nobody, 0.0)


def rows(t: Tensor) -> Tensor:
    """`t` with its last axis dense, copied if need be: what the kernels read, and whose layout their results take."""
    return t if t.shape[-1] == 1 or t.stride(-1) == 1 else t.contiguous()
