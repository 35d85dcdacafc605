"""The step in C++ (`inn/ops/cpu/step.cpp`): one call, no memory but for the result."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import empty_result
from inn.ops.tensors import needs_gradient


def memory_step_cpu(*tensors: Tensor | None) -> Tensor:
    """See `memory_step_torch` for shapes; the results are the same."""
    return torch.ops.inn.memory_step(*tensors)


def refuses(*given: Tensor | None) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    tensors = [t for t in given if t is not None]
    if needs_gradient(*tensors):
        return "has no gradient"
    for t in tensors:
        if t.dtype != torch.float32 or not t.is_cpu:
            return f"takes float32 on the CPU, not {str(t.dtype).removeprefix('torch.')} on {t.device.type}"
    for t in given[1:10]:
        if t is not None and not t.is_contiguous():
            return "takes dense weights"
    return why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the operator's shape; once it is loaded."""
    torch.library.register_fake("inn::memory_step", _result)


def _result(x, into, conv_weight, *others):
    out = others[6]
    return empty_result(x, out.shape[1], out.shape[0])
