"""Tables of counted followers in C++ (`inn/ops/cpu/counts.cpp`), and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.counts.reference import room
from inn.ops.cpu.library import when_loaded, why_not


def counts_cpu(
    tokens: Tensor,
    before: Tensor,
    after: Tensor,
    table: Tensor,
    narrow: bool,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
    learn: bool = True,
) -> tuple[Tensor, Tensor]:
    """See `counts_reference`; the results are the same."""
    room(tokens, before, after, table, narrow)
    return torch.ops.inn.counts(tokens, before, after, table, narrow, reset, mask, learn)


def refuses(tokens, before, after, table, narrow, reset=None, mask=None, learn=True) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    for t in (tokens, before, after, table):
        if not t.is_cpu:
            return f"takes tensors on the CPU, not on {t.device.type}"
    if not table.is_contiguous():
        return "changes dense tables only"
    for t, wanted in ((tokens, torch.int64), (before, torch.int64), (after, torch.int64), (table, torch.int32)):
        if t.dtype != wanted:
            return f"takes int64 symbols and keys and int32 tables, not {t.dtype}"
    return why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the operator's shapes; once it is loaded."""

    def shapes(tokens, before, after, table, narrow, *others):
        room = (table.shape[3] - 1) * (2 if narrow else 1)
        return table.new_empty(*before.shape, room), table.new_empty(before.shape)

    torch.library.register_fake("inn::counts", shapes)
