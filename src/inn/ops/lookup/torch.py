"""The table of followers step by step, all streams and orders at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inn.ops.lookup.reference import EMPTY, RUNS, WORD

_FACTOR = 0x9E3779B1


def recall_torch(
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
    found = []
    slot, check = _places(recent, orders, table.shape[2])
    for t in range(tokens.shape[1]):
        symbol = tokens[:, t, None]  # [B, 1]
        if reset is not None:
            table.masked_fill_(reset[:, t, None, None], EMPTY)
            recent.masked_fill_(reset[:, t, None], EMPTY)
            slot, check = _places(recent, orders, table.shape[2])
        live = None if mask is None else mask[:, t, None]
        old = table.gather(2, slot[..., None])[..., 0].long()  # [B, K]
        right = (old >> 24 == check) & (old >> 3 & (2**21 - 1) == symbol) & (old >= 0)
        run = torch.where(right, (old & 7) + 1, 0).clamp(max=RUNS - 1)
        entry = check << 24 | symbol << 3 | run
        now = torch.cat((recent[:, 1:], symbol), 1)
        if live is not None:
            entry, now = torch.where(live, entry, old), torch.where(live, now, recent)
        if learn:
            table.scatter_(2, slot[..., None], entry[..., None].to(table.dtype))
        recent.copy_(now)
        slot, check = _places(recent, orders, table.shape[2])
        old = table.gather(2, slot[..., None])[..., 0].long()
        known = (old >= 0) & (old >> 24 == check)
        if live is not None:
            known &= live
        found.append(torch.where(known, old & (2**24 - 1), EMPTY))
    return torch.stack(found, 1)


def _places(recent: Tensor, orders: Sequence[int], slots: int) -> tuple[Tensor, Tensor]:
    """Slots and check bits `[B, K]` of the last symbols `[B, L]`.

    The hash of a context is a polynomial of its symbols, so that one product with the powers of the multiplier gives
    those of all orders; symbols of 21 bits times powers of 32 bits add up in int64.
    """
    length = recent.shape[1]
    powers = [[pow(_FACTOR, length - 1 - i, WORD) if i >= length - k else 0 for i in range(length)] for k in orders]
    h = ((recent[:, None] + 1) * torch.tensor(powers, device=recent.device)).sum(2) & (WORD - 1)
    h = ((h ^ h >> 15) * 0x2C1B3C6D) & (WORD - 1)  # int64 holds 32-bit products up to their low bits
    h = ((h ^ h >> 12) * 0x297A2D39) & (WORD - 1)
    h = h ^ h >> 15
    return h % slots, h >> 25
