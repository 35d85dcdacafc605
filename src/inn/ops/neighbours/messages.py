"""Messages along listed edges, a matrix for each: by PyTorch's own operations, or in C++ (`inn/ops/cpu/messages.cpp`).

Neither keeps what comes over all edges, `[B, T, M, K, D]`; PyTorch's way looks at a few edges of all listeners at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from inn.ops.cpu.library import when_loaded, why_not
from inn.ops.cpu.tensors import empty_result, refuse, run
from inn.ops.derivatives import again, beyond, transformed
from inn.ops.tensors import rows

_TOGETHER = 4
"""Edges of each listener that are looked at together."""


def neighbour_messages_torch(
    x: Tensor, weight: Tensor, sources: Tensor, open: Tensor, signs: Tensor | None = None
) -> Tensor:
    """See `neighbour_messages_reference` for shapes and types; the results are the same."""
    if transformed() or torch.compiler.is_exporting():
        return neighbour_messages_plain(x, weight, sources, open, signs)
    return _Messages.apply(x, weight, sources, open, signs)


def neighbour_messages_cpu(
    x: Tensor, weight: Tensor, sources: Tensor, open: Tensor, signs: Tensor | None = None
) -> Tensor:
    """See `neighbour_messages_reference`; what listeners with matrices of their own hear is laid out one by one."""
    return run(torch.ops.inn.neighbour_messages_fwd, x, weight, sources, open, signs)


def refuses_messages(x, weight, sources, open, signs=None) -> str | None:
    """Why these tensors cannot go to the C++ kernel, or None."""
    return refuse((x,), (weight,)) or why_not()


@when_loaded
def register() -> None:
    """Tell PyTorch the shapes and gradients of the operators; once they are loaded."""
    torch.library.register_fake("inn::neighbour_messages_fwd", _shape)
    torch.library.register_fake("inn::neighbour_messages_input_bwd", lambda gy, x, *_: torch.empty_like(rows(x)))
    torch.library.register_fake(
        "inn::neighbour_messages_weight_bwd", lambda gy, x, weight, *_: weight.new_empty(weight.shape)
    )
    torch.library.register_autograd("inn::neighbour_messages_fwd", _backward, setup_context=_save)


def _shape(x, weight, sources, open, signs):
    return empty_result(x[:, :, :1].expand(-1, -1, len(sources), -1), weight.shape[1], weight.shape[0])


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, gy):
    x, weight, *edges = given = ctx.saved_tensors
    if beyond(gy):
        return again(neighbour_messages_plain, given, (gy,))
    gx = gweight = None
    gy = gy.to(x.dtype)
    if ctx.needs_input_grad[0]:
        gx = torch.ops.inn.neighbour_messages_input_bwd(gy, x, weight, *edges)
    if ctx.needs_input_grad[1]:
        gweight = torch.ops.inn.neighbour_messages_weight_bwd(gy, x, weight, *edges)
    return gx, gweight, None, None, None


def neighbour_messages_plain(x: Tensor, weight: Tensor, sources: Tensor, open: Tensor, signs: Tensor | None) -> Tensor:
    """Operations that PyTorch can differentiate in any way; it keeps what comes over every edge, in parts."""
    total = None
    for some, heard in _heard(x, sources, open, signs):
        part = heard @ weight[:, :, some].flatten(2).transpose(1, 2)
        part = part.to(torch.promote_types(x.dtype, torch.float32))
        total = part if total is None else total + part
    assert total is not None
    return total.to(x.dtype).transpose(0, 1).unflatten(0, x.shape[:2])


def _heard(x: Tensor, sources: Tensor, open: Tensor, signs: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
    """Some edges of each listener, and what comes over them, `[M, B x T, edges x D]`; zero over a closed one."""
    for first in range(0, sources.shape[1], _TOGETHER):
        some = slice(first, first + _TOGETHER)
        listed = sources[:, some]
        heard = x.index_select(2, listed.flatten()).unflatten(2, listed.shape)
        heard = heard.masked_fill(~open[:, some, None], 0.0)
        heard = heard if signs is None else heard * signs[:, some, None].to(x.dtype)
        yield some, heard.flatten(3).flatten(0, 1).transpose(0, 1)


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        return neighbour_messages_plain(*given)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, sources, open, signs = given = ctx.saved_tensors
        if beyond(gy):
            return again(neighbour_messages_plain, given, (gy,))
        g = gy.flatten(0, 1).transpose(0, 1)  # [M, B x T, I]
        gx = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
        gweight = torch.empty_like(weight)
        for some, heard in _heard(x, sources, open, signs):
            part = (g.transpose(1, 2) @ heard).unflatten(2, (-1, x.shape[3]))  # [M, I, edges, D]
            gweight[:, :, some] = part if len(weight) > 1 else part.sum(0, keepdim=True)
            factors = open[:, some, None].to(gx.dtype)
            factors = factors if signs is None else factors * signs[:, some, None]
            told = (g @ weight[:, :, some].flatten(2)).transpose(0, 1).unflatten(2, (-1, x.shape[3])) * factors
            gx.index_add_(2, sources[:, some].flatten(), told.flatten(1, 2).unflatten(0, x.shape[:2]))
        return gx.to(x.dtype), gweight, None, None, None
