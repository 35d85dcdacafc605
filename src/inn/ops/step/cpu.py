"""The step in C++ (`inn/ops/cpu/step.cpp`): one call, no memory but for the result."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.cpu.library import why_not
from inn.ops.cpu.tensors import empty_result


def memory_step_cpu(*tensors: Tensor) -> Tensor:
    """See `memory_step_torch` for shapes; the results are the same."""
    return torch.ops.inn.memory_step(*tensors)


def refuses(*tensors: Tensor) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return "has no gradient"
    if not all(t.is_contiguous() for t in tensors[1:]):
        return "takes dense weights and states"
    for t in tensors:
        if t.dtype != torch.float32 or not t.is_cpu:
            return f"takes float32 on the CPU, not {str(t.dtype).removeprefix('torch.')} on {t.device.type}"
    return why_not()


def register() -> None:
    """Tell PyTorch the operator's shape; once it is loaded."""
    torch.library.register_fake("inn::memory_step", lambda x, into, *_: empty_result(x, x.shape[3], into.shape[0]))
