"""Votes in C++ (`inn/ops/cpu/votes.cpp`): the operators' shapes and gradients, and when they can be used."""

from __future__ import annotations

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import refuse, run
from inn.ops.derivatives import again, beyond
from inn.ops.votes.reference import check
from inn.ops.votes.torch import expected_torch, votes_torch


def votes_cpu(found: Tensor, last: Tensor, table: Tensor, weights: Tensor, vocab: int) -> Tensor:
    """See `votes_reference`; the results are the same, and the order of sums depends on the shapes alone."""
    check(found, last, table, weights=(weights, found.shape[:3]))
    return run(torch.ops.inn.votes_fwd, found, last, table, weights, vocab)


def expected_cpu(found: Tensor, last: Tensor, table: Tensor, symbols: Tensor) -> Tensor:
    """See `expected_reference`; the results are the same, and the order of sums depends on the shapes alone."""
    check(found, last, table)
    return run(torch.ops.inn.expected_fwd, found, last, table, symbols)


def refuses_votes(found, last, table, weights, vocab) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    return refuses_expected(found, last, table, weights) or (None if vocab else "takes at least one symbol")


def refuses_expected(found, last, table, symbols) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    for t in (found, last):
        if not t.is_cpu:
            return f"takes tensors on the CPU, not on {t.device.type}"
        if t.dtype != torch.int32:
            return f"takes int32 followers, not {str(t.dtype).removeprefix('torch.')}"
        if 0 in t.shape:
            return f"takes at least one stream, step, context and follower, not {list(t.shape)}"
    return refuse((symbols,), (table,)) or why_not()


def _gradients(g, found, last, table, other):
    return table.new_empty(table.shape), other.new_empty(other.shape)


def _save_votes(ctx, inputs, output):
    *given, ctx.vocab = inputs
    ctx.save_for_backward(*given)


def _save_expected(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _votes_backward(ctx, gy):
    given = ctx.saved_tensors
    if beyond(gy):
        return *again(lambda *t: votes_torch(*t, vocab=ctx.vocab), given, (gy,)), None
    return None, None, *torch.ops.inn.votes_bwd(gy, *given), None


def _expected_backward(ctx, gy):
    given = ctx.saved_tensors
    if beyond(gy):
        return again(expected_torch, given, (gy,))
    return None, None, *torch.ops.inn.expected_bwd(gy, *given)


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake(
        "inn::votes_fwd", lambda found, last, table, weights, vocab: weights.new_empty((*found.shape[:2], vocab))
    )
    torch.library.register_fake(
        "inn::expected_fwd", lambda found, last, table, symbols: symbols.new_empty((*found.shape[:3], symbols.shape[1]))
    )
    for name in ("votes", "expected"):
        torch.library.register_fake(f"inn::{name}_bwd", _gradients)
    torch.library.register_autograd("inn::votes_fwd", _votes_backward, setup_context=_save_votes)
    torch.library.register_autograd("inn::expected_fwd", _expected_backward, setup_context=_save_expected)
