"""What a stream of vectors has come to so far, by step: their mean, and the last value of each channel."""

from __future__ import annotations

import torch
from torch import Tensor


def running_mean(
    x: Tensor, total: Tensor, count: Tensor, reset: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean of all vectors since the stream began.

    Args:
        x: `[B, T, D]`.
        total, count: `[B, 1, D]` and `[B, 1]`, sum and number of the vectors before.
        reset: `[B, T]`, the stream begins anew before these steps.
        mask: `[B, T]`, where false a step does not count.

    Returns the means `[B, T, D]`, and sum and number after the last step.

    >>> mean, total, count = running_mean(torch.tensor([[[1.0], [3.0]]]), torch.zeros(1, 1, 1),
    ...     torch.zeros(1, 1, dtype=torch.long), None, None)
    >>> mean.flatten().tolist(), total.item(), count.item()
    ([1.0, 2.0], 4.0, 2)
    """
    live = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None else mask
    own = x if mask is None else x.masked_fill(~mask[..., None], 0)
    totals = torch.cat((total, own.to(total.dtype)), 1).cumsum(1)
    counts = torch.cat((count, live.long()), 1).cumsum(1)
    total, count = totals[:, 1:], counts[:, 1:]
    if reset is not None:
        begun = _begun(reset)
        before = (begun - 1).clamp_min(0)
        total = total - torch.where(
            begun[..., None] > 0, totals.gather(1, before[..., None].expand_as(x)), torch.zeros_like(total)
        )
        count = count - torch.where(begun > 0, counts.gather(1, before), 0)
    return (total / count.clamp_min(1)[..., None]).to(x.dtype), total[:, -1:], count[:, -1:]


def last_seen(
    x: Tensor, seen: Tensor, first: Tensor, reset: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The last value of each channel that was there, `[B, T, F]`, and that after the last step `[B, 1, F]`.

    Args:
        x: `[B, T, F]`, NaN where a value is missing.
        seen: `[B, 1, F]`, the last values before.
        first: `[F]`, what stands for a value before the first one of a stream.
        reset, mask: as in `running_mean`.

    >>> last_seen(torch.tensor([[[1.0], [torch.nan]]]), torch.zeros(1, 1, 1), torch.zeros(1), None, None)[0].flatten()
    tensor([1., 1.])
    """
    there = ~x.isnan()
    x = x.masked_fill(~there, 0)
    if mask is not None:
        there = there & mask[..., None]
    steps = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
    at = torch.where(there, steps, 0).cummax(1).values  # 0: none of these
    last = torch.cat((seen, x), 1).gather(1, at)
    if reset is not None:
        last = torch.where(at < _begun(reset)[..., None], first.to(last.dtype), last)
    return last, last[:, -1:]


def _begun(reset: Tensor) -> Tensor:
    """The step, from 1, at which the stream last began anew, `[B, T]`; 0 where it goes on from before."""
    return torch.where(reset, torch.arange(1, reset.shape[1] + 1, device=reset.device), 0).cummax(1).values
