"""The convolution as K shifted multiply-adds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def causal_conv_torch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `causal_conv_reference` for shapes and types; the results are the same."""
    taps, time = weight.shape[-1], x.shape[1]
    # Which stretch between resets a step belongs to; inputs of another stretch than its own are zero to it.
    stretch = None if reset is None else reset.cumsum(1)
    last = None if stretch is None else stretch[:, -1:]
    order = None
    if mask is not None:
        order = _valid_first(mask)
        x = _take(x, order)
        stretch = None if stretch is None else stretch.gather(1, order)
    padded = torch.cat((state.to(x.dtype).transpose(1, 2), x), dim=1)  # [B, K-1+T, N, E]
    if stretch is not None:
        stretch = F.pad(stretch, (taps - 1, 0))
    y = bias.to(x.dtype)
    for k in range(taps):
        seen = padded[:, k : k + time]
        if stretch is not None and k < taps - 1:
            other = stretch[:, k : k + time] != stretch[:, taps - 1 :]
            seen = seen.masked_fill(other[:, :, None, None], 0)
        y = torch.addcmul(y, seen, weight[..., k].to(x.dtype))
    y = F.silu(y)
    if mask is None or order is None:
        kept = padded[:, time:]
        kept_stretch = None if stretch is None else stretch[:, time:]
    else:
        y = _take(y, order.argsort(1)).masked_fill(~mask[:, :, None, None], 0)
        where = mask.sum(1, keepdim=True) + torch.arange(taps - 1, device=x.device)
        kept = _take(padded, where)
        kept_stretch = None if stretch is None else stretch.gather(1, where)
    if kept_stretch is not None:
        kept = kept.masked_fill((kept_stretch != last)[:, :, None, None], 0)
    # A copy where needed: a view would keep the whole window alive between calls.
    return y, kept.transpose(1, 2).to(state.dtype, copy=kept.dtype == state.dtype)


def _valid_first(mask: Tensor) -> Tensor:
    """Order of the steps with the valid ones first, otherwise unchanged, `[B, T]`."""
    return (~mask).to(torch.uint8).argsort(dim=1, stable=True)


def _take(x: Tensor, index: Tensor) -> Tensor:
    return x.gather(1, index[:, :, None, None].expand(-1, -1, *x.shape[2:]))
