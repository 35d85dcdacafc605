"""What the Triton backends share: whether they can run, which tensors they take, and how they are launched.

Triton is no dependency of the package: on a GPU machine PyTorch brings its own. It is imported at the first call that
could use it. With `TRITON_INTERPRET=1` in the environment its interpreter runs the kernels on the CPU, slowly: that is
how they are tested, and it has to be asked for by `use_backend("triton")`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from inn.ops import tensors
from inn.ops.constant import constant
from inn.ops.dispatch import _forced_name
from inn.ops.tensors import keeps as keeps
from inn.ops.tensors import needs_gradient as needs_gradient
from inn.ops.tensors import rows as rows
from inn.system.errors import InputError

_DEVICES = frozenset(("cuda", "xpu"))  # an AMD GPU calls itself cuda in PyTorch


def refuse(streams: Sequence[Tensor], floats: Sequence[Tensor] = ()) -> str | None:
    """Why the kernels cannot take these, or None; see `inn.ops.tensors.refuse`."""
    for t in (*streams, *floats):
        if reason := _refuse_device(t):
            return reason
    return tensors.refuse(streams, floats)


def refuse_whole(numbers: Sequence[Tensor], table: Tensor | None = None) -> str | None:
    """Why the kernels cannot take these int64 numbers, and an int32 table that they change, or None."""
    for t in (*numbers, *(() if table is None else (table,))):
        if reason := _refuse_device(t):
            return reason
        if t.dtype != (torch.int32 if t is table else torch.int64):
            return f"takes int64 numbers and int32 tables, not {str(t.dtype).removeprefix('torch.')}"
    return None if table is None or table.is_contiguous() else "changes dense tables only"


def asked_for() -> bool:
    """Whether `use_backend("triton")` is in force."""
    return _forced_name() == "triton"


def _refuse_device(t: Tensor) -> str | None:
    kind = t.device.type
    if kind in _DEVICES:
        return _missing()
    if kind == "cpu" and asked_for():
        return _missing() or _not_interpreted()
    return f"takes tensors on a GPU, not on {kind}"


@constant
def _missing() -> str | None:
    return None if find_spec("triton") else "needs Triton, which is not installed"


@constant
def _not_interpreted() -> str | None:
    if os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y"):
        return None
    return "takes tensors on a GPU; on the CPU only Triton's interpreter can run it (set TRITON_INTERPRET=1)"


def launch(kernel: Any, programs: int, *args: Any, **options: Any) -> None:
    """Run so many programs of a Triton kernel, on the GPU that holds the first argument."""
    t: Tensor = args[0]
    with torch.xpu.device_of(t) if t.is_xpu else torch.cuda.device_of(t):
        kernel[(programs,)](*args, **options)


def processors(t: Tensor) -> int:
    """The multiprocessors of the GPU that holds `t` (1 for the interpreter)."""
    if t.is_cuda:
        return torch.cuda.get_device_properties(t.device).multi_processor_count
    return torch.xpu.get_device_properties(t.device).max_compute_units if t.is_xpu else 1


def floats(t: Tensor) -> Tensor:
    """A parameter or a state as the kernels read it: dense, in float32."""
    return t.to(torch.float32).contiguous()


def flags(t: Tensor | None) -> Tensor | None:
    """`[B, T]` or `[N, N]` bool as the kernels read it: dense bytes."""
    return None if t is None else t.contiguous().view(torch.uint8)


def expect(shape: Sequence[int], **named: Tensor | None) -> None:
    """Raise `InputError` for a tensor of another shape: a kernel would read beside it."""
    for name, t in named.items():
        if t is not None and list(t.shape) != list(shape):
            raise InputError(f"{name} should be {list(shape)}, not {list(t.shape)}")


def strides(t: Tensor) -> tuple[int, int, int]:
    """Of the axes B, T and N."""
    return t.stride(0), t.stride(1), t.stride(2)


def power_of_two(n: int) -> int:
    """The smallest one that is not less than `n`."""
    return 1 << (n - 1).bit_length()


def exact_product(t: Tensor) -> str:
    """How kernels multiply matrices: float32 by PyTorch's own switch as three TF32 products or one."""
    if t.is_cpu:
        return "interpreter"
    if t.is_cuda and torch.version.cuda:
        return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "tf32x3"
    return "ieee"
