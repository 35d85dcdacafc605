"""The table of followers in C++ (`inn/ops/cpu/recall.cpp`), and when it can be used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not


def recall_cpu(
    tokens: Tensor,
    table: Tensor,
    recent: Tensor,
    orders: Sequence[int],
    reset: Tensor | None = None,
    mask: Tensor | None = None,
    learn: bool = True,
    width: int = 0,
) -> Tensor:
    """See `recall_reference`; the results are the same."""
    return torch.ops.inn.recall(tokens, table, recent, list(orders), reset, mask, learn, width)


def refuses(tokens, table, recent, orders, reset=None, mask=None, learn=True, width=0) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    for t in (tokens, table, recent):
        if not t.is_cpu:
            return f"takes tensors on the CPU, not on {t.device.type}"
    if not (table.is_contiguous() and recent.is_contiguous()):
        return "changes dense tables only"
    if (tokens.dtype, table.dtype, recent.dtype) != (torch.int64, torch.int32, torch.int64):
        return f"takes int64 symbols and int32 tables, not {tokens.dtype}, {recent.dtype} and {table.dtype}"
    return why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the operator's shape; once it is loaded."""
    torch.library.register_fake(
        "inn::recall",
        lambda tokens, table, recent, orders, *others: tokens.new_empty(*tokens.shape, len(orders)),
    )
