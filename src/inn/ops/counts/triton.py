"""Tables of counted followers in Triton (kernels in `triton_kernels.py`), and when it can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops import gpu
from inn.ops.counts.reference import room


def counts_triton(
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
    return torch.ops.inn.triton_counts(tokens, before, after, table, narrow, reset, mask, learn)


def refuses(tokens, before, after, table, narrow, reset=None, mask=None, learn=True) -> str | None:
    """Why these tensors cannot go to the Triton kernel, or None."""
    return gpu.refuse_whole((tokens, before, after), table)


@torch.library.custom_op(
    "inn::triton_counts",
    mutates_args=("table",),
    schema="(Tensor tokens, Tensor before, Tensor after, Tensor(a!) table, bool narrow, Tensor? reset, Tensor? mask, "
    "bool learn) -> (Tensor, Tensor)",
)
def _counts(tokens, before, after, table, narrow, reset, mask, learn):
    from inn.ops.counts.triton_kernels import counts_forward

    F = room(tokens, before, after, table, narrow)
    gpu.expect(tokens.shape, reset=reset, mask=mask)
    found, last = _shapes(tokens, before, after, table, narrow, reset, mask, learn)
    _, time, contexts = before.shape
    if before.numel():
        gpu.launch(
            counts_forward, before.shape[0] * contexts, table, table.view(torch.int16) if narrow else table,
            tokens.contiguous(), before.contiguous(), after.contiguous(), gpu.flags(reset), gpu.flags(mask),
            found, last, time, contexts, *table.shape[2:], F, NARROW=narrow, LEARN=learn,
            FP=gpu.power_of_two(F), BLOCK=1024, num_warps=1,
        )  # fmt: skip
    return found, last


@_counts.register_fake
def _shapes(tokens, before, after, table, narrow, reset, mask, learn):
    F = (table.shape[3] - 1) * (2 if narrow else 1)
    return table.new_empty((*before.shape, F)), table.new_empty(before.shape)
